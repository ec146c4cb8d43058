// Expands templates made at random with Prometheus' own expander, and tells what came out as JSON, one case a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math/rand"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

var values = []string{
	".Labels.job", ".Labels.none", "$labels.instance", "$value", ".Value", "$externalLabels.zone", "$externalURL", ".", "$", "nil", "true", "false",
	"1", "0", "-3", "1.5", "1e3", "0x7", "1e-7", "123456.789", `'\t'`, `"text"`, `"a b CC"`, "`raw`", `"host.example.com:80"`, `"1.5"`, `"NaN"`,
	`(query "m")`, `(query "none")`, `(query "bad")`, `(query "m" | first)`, "(args 1 2)", "$x", ".Nope", "$labels", `"é<>&"`, "(1800 | toDuration)",
	"(now | toTime)", `"a+"`, `"m"`, `"%s %v"`, `"%5.2f|%-4d|%q"`, "externalURL", "pathPrefix", "now", `""`, "(len .Labels)", "1_0", "010",
}

var functions = []string{
	"humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "title", "toUpper", "toLower", "graphLink",
	"tableLink", "stripPort", "stripDomain", "parseDuration", "toTime", "toDuration", "first", "value", "strvalue", "len", "not", "print", "html",
	"js", "urlquery", "println", "safeHtml", "urlQueryEscape", "query",
}

var binary = []string{"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "match", "label", "sortByLabel", "printf", "index", "slice", "print"}

func value(chance *rand.Rand) string { return values[chance.Intn(len(values))] }

func pipeline(chance *rand.Rand, depth int) string {
	if depth > 3 {
		return value(chance)
	}
	switch chance.Intn(9) {
	case 0, 1:
		return functions[chance.Intn(len(functions))] + " " + value(chance)
	case 2:
		return value(chance) + " | " + functions[chance.Intn(len(functions))]
	case 3:
		return binary[chance.Intn(len(binary))] + " " + value(chance) + " " + value(chance)
	case 4:
		return functions[chance.Intn(len(functions))] + " (" + pipeline(chance, depth+1) + ")"
	case 5:
		return pipeline(chance, depth+1) + " | " + functions[chance.Intn(len(functions))]
	case 6:
		return "reReplaceAll " + value(chance) + " " + value(chance) + " " + value(chance)
	case 7:
		return "printf " + value(chance) + " " + value(chance) + " " + value(chance)
	}
	return value(chance)
}

// What to range over: no pipelines, which could come to numbers of nanoseconds.
func ranged(chance *rand.Rand) string {
	value := value(chance)
	if strings.Contains(value, "oDuration") || value == "$x" {
		return "$labels"
	}
	return value
}

func text(chance *rand.Rand, depth int) string {
	var out strings.Builder
	for range 1 + chance.Intn(3) {
		left, right := "{{", "}}"
		if chance.Intn(5) == 0 {
			left = "{{- "
		}
		if chance.Intn(5) == 0 {
			right = " -}}"
		}
		action := func(inner string) { out.WriteString(left + " " + inner + " " + right) }
		inner := func() {
			if depth < 3 {
				out.WriteString(text(chance, depth+1))
			}
		}
		switch chance.Intn(16) {
		case 0, 1:
			out.WriteString(" plain\n text ")
		case 2:
			action("if " + pipeline(chance, 0))
			inner()
			if chance.Intn(2) == 0 {
				out.WriteString("{{ else }}")
				inner()
			}
			out.WriteString("{{ end }}")
		case 3:
			action("range " + ranged(chance))
			inner()
			out.WriteString("{{ end }}")
		case 4:
			action("range $i, $e := " + ranged(chance))
			out.WriteString("{{ $i }}={{ $e }};")
			if chance.Intn(3) == 0 {
				out.WriteString("{{ break }}")
			}
			out.WriteString("{{ end }}")
		case 5:
			action("with " + pipeline(chance, 0))
			inner()
			out.WriteString("{{ else with " + value(chance) + " }}w{{ end }}")
		case 6:
			action("$x := " + pipeline(chance, 0))
		case 7:
			action("$x = " + pipeline(chance, 0))
		case 8:
			out.WriteString(`{{ define "d" }}d:{{ . }}{{ end }}{{ template "d" ` + value(chance) + " }}")
		case 9:
			if chance.Intn(3) == 0 {
				out.WriteString([]string{"{{", "}}", "{{ end }}", "{{ else }}", "{{ if }}", "{{ $nope }}", "{{ nope }}", "{{ \"x }}", "{{ 1a }}",
					"{{ ( }}", "{{ ) }}", "{{ | }}", "{{ 1 | 2 }}", "{{ /* c */ }}", "{{/* c */}}", "{{ break }}", "{{ .a.b }}", "{{ x.y }}", "{{ range }}"}[chance.Intn(19)])
			}
		default:
			action(pipeline(chance, 0))
		}
	}
	return out.String()
}

func main() {
	seed, count := flag.Int64("seed", 1, ""), flag.Int("count", 1000, "")
	flag.Parse()
	chance := rand.New(rand.NewSource(*seed))
	external, _ := url.Parse("http://testhost:9090/path/prefix")
	found := promql.Vector{
		{Metric: labels.FromStrings("__name__", "m", "instance", "b:9090"), F: 21},
		{Metric: labels.FromStrings("__name__", "m", "instance", "a.x:80"), F: 0.125},
	}
	query := func(_ context.Context, query string, _ time.Time) (promql.Vector, error) {
		switch query {
		case "none":
			return promql.Vector{}, nil
		case "bad":
			return nil, errors.New("bad query")
		}
		return found, nil
	}
	data := template.AlertTemplateData(map[string]string{"job": "j", "instance": "host.example:9100"}, map[string]string{"zone": "z"},
		external.String(), promql.Sample{F: 1234.5})
	names := "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}{{$x := 1}}"
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for made := 0; made < *count; {
		text := names + text(chance, 0)
		output, err := template.NewTemplateExpander(context.Background(), text, "t", data, model.Time(1353755652000), query, external, nil).Expand()
		why := ""
		if err != nil {
			output, why = "", err.Error()
		}
		// Samples in lists are shown by where they lie in memory, and panics by Go's own words.
		if strings.Contains(output+why, "0x") || strings.Contains(why, "reflect") || strings.Contains(why, "runtime error") {
			continue
		}
		line, err := json.Marshal(map[string]string{"text": text, "output": output, "error": why})
		if err != nil {
			panic(err)
		}
		out.Write(append(line, '\n'))
		made++
	}
}
