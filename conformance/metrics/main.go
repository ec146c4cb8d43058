// Reads expositions made at random with Prometheus' own parsers, and tells what they say as JSON, one case a line.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand"
	"os"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var pieces = []string{
	"# HELP ", "# TYPE ", "# UNIT ", "# EOF", "# EOF\n", "#", "# ", "#comment\n", "a", "b_total", "c_seconds", "le",
	"quantile", "a:b", "\"q.r\"", "{", "}", "=", "\"", "\"v\"", "\"\\\"\\n\\\\\"", "\"\\x\"", ",", " ", "  ", "\t", "\n",
	"\n\n", "\r\n", "1", "-1.5e3", "+Inf", "NaN", "0x1", "1_0", "1e999", " 1520879607789", " 1.5", " counter", " gauge",
	" histogram", " summary", "untyped", " unknown", " info", " stateset", " gaugehistogram", " seconds", " # {",
	" # {id=\"x\"} 1", " # {id=\"x\"} 1 2", "é", "a{x=\"1\"} 1\n", "a_bucket{le=\"1\"} 1\n", "s{quantile=\"0.5\"} 2\n",
	"{\"n m\",\"l k\"=\"v\"} 1\n", "# TYPE a histogram\n", "# TYPE s summary\n", "# HELP a b\\nc\n",
	"b_total 1 # {t=\"w\"} 0.5 1.0\n", "# TYPE b counter\n", "a{", "x=\"1\"", "} 1", "} 1\n", " 2\n", "# UNIT c_seconds seconds\n",
}

func text(chance *rand.Rand) []byte {
	var body []byte
	for range chance.Intn(14) {
		body = append(body, pieces[chance.Intn(len(pieces))]...)
	}
	if len(body) > 0 && chance.Intn(5) == 0 {
		// One byte of those that texts have, zero bytes not among them: upstream's lexer takes these for the end.
		body[chance.Intn(len(body))] = byte(1 + chance.Intn(127))
	}
	if chance.Intn(2) == 0 {
		body = append(body, "\n# EOF\n"...)
	} else if chance.Intn(2) == 0 {
		body = append(body, "# EOF\n"...)
	}
	return body
}

func number(chance *rand.Rand) float64 {
	return []float64{0, 1, 0.1, -2.5, 1e21, math.Inf(1), math.NaN()}[chance.Intn(7)]
}

func example(chance *rand.Rand) *dto.Exemplar {
	if chance.Intn(2) == 0 {
		return nil
	}
	one := &dto.Exemplar{Value: proto.Float64(number(chance)), Label: pairs(chance)}
	if chance.Intn(3) > 0 {
		one.Timestamp = &timestamppb.Timestamp{Seconds: chance.Int63n(2e9), Nanos: int32(chance.Intn(1e9))}
	}
	return one
}

func pairs(chance *rand.Rand) []*dto.LabelPair {
	var all []*dto.LabelPair
	for at := range chance.Intn(3) {
		all = append(all, &dto.LabelPair{Name: proto.String(fmt.Sprint("l", at)), Value: proto.String([]string{"", "v", "é"}[chance.Intn(3)])})
	}
	return all
}

func buckets(chance *rand.Rand) (spans []*dto.BucketSpan, deltas []int64, counts []float64) {
	last := int64(0)
	for at := range chance.Intn(3) {
		offset := int32(chance.Intn(4))
		if at == 0 {
			offset -= 2
		}
		length := uint32(chance.Intn(4))
		spans = append(spans, &dto.BucketSpan{Offset: proto.Int32(offset), Length: proto.Uint32(length)})
		for range length {
			count := int64(chance.Intn(3))
			deltas, counts = append(deltas, count-last), append(counts, float64(count))
			last = count
		}
	}
	if chance.Intn(10) == 0 {
		deltas = append(deltas, 1)
	}
	return spans, deltas, counts
}

func families(chance *rand.Rand) []byte {
	body := &writer{}
	for range 1 + chance.Intn(3) {
		kind := dto.MetricType(chance.Intn(6))
		family := &dto.MetricFamily{Name: proto.String([]string{"a", "b.c", "d_seconds"}[chance.Intn(3)]), Type: &kind}
		if chance.Intn(2) == 0 {
			family.Help = proto.String("What it is.")
		}
		if chance.Intn(4) == 0 {
			family.Unit = proto.String("seconds")
		}
		for range chance.Intn(4) {
			metric := &dto.Metric{Label: pairs(chance)}
			if chance.Intn(3) == 0 {
				metric.TimestampMs = proto.Int64(chance.Int63n(2e12))
			}
			switch kind {
			case dto.MetricType_COUNTER:
				metric.Counter = &dto.Counter{Value: proto.Float64(number(chance)), Exemplar: example(chance)}
			case dto.MetricType_GAUGE:
				metric.Gauge = &dto.Gauge{Value: proto.Float64(number(chance))}
			case dto.MetricType_UNTYPED:
				metric.Untyped = &dto.Untyped{Value: proto.Float64(number(chance))}
			case dto.MetricType_SUMMARY:
				metric.Summary = &dto.Summary{SampleCount: proto.Uint64(5), SampleSum: proto.Float64(number(chance))}
				for at := range chance.Intn(3) {
					metric.Summary.Quantile = append(metric.Summary.Quantile,
						&dto.Quantile{Quantile: proto.Float64(float64(at) / 2), Value: proto.Float64(number(chance))})
				}
			default:
				one := &dto.Histogram{SampleSum: proto.Float64(number(chance))}
				whole := chance.Intn(3) > 0
				if whole {
					one.SampleCount = proto.Uint64(20)
				} else {
					one.SampleCountFloat = proto.Float64(20.5)
				}
				for at := range chance.Intn(4) {
					bound := float64(at)
					if chance.Intn(6) == 0 {
						bound = math.Inf(1)
					}
					one.Bucket = append(one.Bucket, &dto.Bucket{
						CumulativeCount: proto.Uint64(uint64(at)), UpperBound: proto.Float64(bound), Exemplar: example(chance)})
				}
				if chance.Intn(2) == 0 {
					one.Schema, one.ZeroThreshold = proto.Int32(int32(chance.Intn(5))), proto.Float64(0.001)
					positive, deltas, counts := buckets(chance)
					negative, others, floats := buckets(chance)
					one.PositiveSpan, one.NegativeSpan = positive, negative
					if whole {
						one.ZeroCount, one.PositiveDelta, one.NegativeDelta = proto.Uint64(2), deltas, others
					} else {
						one.ZeroCountFloat, one.PositiveCount, one.NegativeCount = proto.Float64(2), counts, floats
					}
					for range chance.Intn(3) {
						if told := example(chance); told != nil {
							one.Exemplars = append(one.Exemplars, told)
						}
					}
				}
				metric.Histogram = one
			}
			family.Metric = append(family.Metric, metric)
		}
		if _, err := protodelim.MarshalTo(body, family); err != nil {
			panic(err)
		}
	}
	if len(body.bytes) > 0 && chance.Intn(10) == 0 {
		return body.bytes[:chance.Intn(len(body.bytes))]
	}
	return body.bytes
}

type writer struct{ bytes []byte }

func (w *writer) Write(bytes []byte) (int, error) {
	w.bytes = append(w.bytes, bytes...)
	return len(bytes), nil
}

func bits(value float64) string { return fmt.Sprintf("%016x", math.Float64bits(value)) }

func told(set labels.Labels) [][2]string {
	all := [][2]string{}
	set.Range(func(l labels.Label) { all = append(all, [2]string{l.Name, l.Value}) })
	slices.SortFunc(all, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return all
}

func spansOf(spans []histogram.Span) [][2]int64 {
	all := [][2]int64{}
	for _, span := range spans {
		all = append(all, [2]int64{int64(span.Offset), int64(span.Length)})
	}
	return all
}

func floats(all []float64) []float64 { return append([]float64{}, all...) }

func native(whole *histogram.Histogram, one *histogram.FloatHistogram) []any {
	if whole != nil {
		one = whole.ToFloat(nil)
	}
	return []any{one.Count, bits(one.Sum), one.Schema, bits(one.ZeroThreshold), one.ZeroCount, spansOf(one.PositiveSpans),
		floats(one.PositiveBuckets), spansOf(one.NegativeSpans), floats(one.NegativeBuckets), one.CounterResetHint == histogram.GaugeType}
}

func read(body []byte, media string, withNative bool) (entries []any, failed any) {
	entries = []any{}
	parser, err := textparse.New(slices.Clone(body), media, nil, textparse.ParserOptions{
		IgnoreNativeHistograms: !withNative, KeepClassicOnClassicAndNativeHistograms: withNative})
	if err != nil {
		panic(err)
	}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) && err.Error() == "EOF" {
			return entries, nil
		}
		if err != nil {
			return entries, err.Error()
		}
		switch entry {
		case textparse.EntryHelp:
			name, text := parser.Help()
			entries = append(entries, []any{"help", string(name), string(text)})
		case textparse.EntryType:
			name, kind := parser.Type()
			entries = append(entries, []any{"type", string(name), string(kind)})
		case textparse.EntryUnit:
			name, unit := parser.Unit()
			entries = append(entries, []any{"unit", string(name), string(unit)})
		case textparse.EntrySeries, textparse.EntryHistogram:
			var at *int64
			var value any
			if entry == textparse.EntrySeries {
				_, time, number := parser.Series()
				at, value = time, bits(number)
			} else {
				_, time, whole, one := parser.Histogram()
				at, value = time, native(whole, one)
			}
			if at != nil {
				copied := *at
				at = &copied
			}
			var set labels.Labels
			parser.Labels(&set)
			examples := []any{}
			for {
				var one exemplar.Exemplar
				if !parser.Exemplar(&one) {
					break
				}
				var time *int64
				if one.HasTs {
					time = &one.Ts
				}
				examples = append(examples, []any{told(one.Labels), bits(one.Value), time})
			}
			entries = append(entries, []any{"sample", told(set), value, at, examples})
		}
	}
}

func main() {
	seed := flag.Int64("seed", 1, "what chance begins with")
	count := flag.Int("count", 20000, "how many expositions")
	flag.Parse()
	chance := rand.New(rand.NewSource(*seed))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	formats := []struct{ name, media string }{
		{"text", "text/plain"}, {"openmetrics", "application/openmetrics-text"}, {"protobuf", "application/vnd.google.protobuf"}}
	for range *count {
		format := formats[chance.Intn(3)]
		withNative := format.name == "protobuf" && chance.Intn(2) == 0
		body := []byte(nil)
		if format.name == "protobuf" {
			body = families(chance)
		} else {
			body = text(chance)
		}
		entries, failed := read(body, format.media, withNative)
		if err := encoder.Encode(map[string]any{
			"format": format.name, "native": withNative, "body": hex.EncodeToString(body), "entries": entries, "error": failed}); err != nil {
			panic(err)
		}
	}
}
