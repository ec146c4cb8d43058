// dns stands in for the DNS server that the suite's manifests name: it answers every question, as CoreDNS's `whoami` plugin
// does, with the address and port that the question came from.
package main

import (
	"log"
	"net"
	"strconv"

	"github.com/miekg/dns"
)

func main() {
	server := &dns.Server{Addr: ":53", Net: "udp", Handler: dns.HandlerFunc(whoami)}
	log.Fatal(server.ListenAndServe())
}

func whoami(writer dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(question)
	answer.Authoritative = true
	host, port, err := net.SplitHostPort(writer.RemoteAddr().String())
	if err == nil && len(question.Question) == 1 {
		name := question.Question[0].Name
		header := func(name string, kind uint16) dns.RR_Header {
			return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET}
		}
		number, _ := strconv.ParseUint(port, 10, 16)
		answer.Extra = []dns.RR{&dns.SRV{Hdr: header("_udp."+name, dns.TypeSRV), Port: uint16(number), Target: "."}}
		if address := net.ParseIP(host); address.To4() != nil {
			answer.Extra = append(answer.Extra, &dns.A{Hdr: header(name, dns.TypeA), A: address})
		} else {
			answer.Extra = append(answer.Extra, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: address})
		}
	}
	if err := writer.WriteMsg(answer); err != nil {
		log.Print(err)
	}
}
