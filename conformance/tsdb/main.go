// Holds blocks of xebec's time-series database against Prometheus's own code, both ways.
//
//	tsdb write DIR        writes blocks with floats and histograms of all kinds into DIR, prints what is in them
//	tsdb dump DIR         prints what is in the blocks of DIR
//	tsdb compare A B ...  compares printouts in pairs, series by series
package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "write":
		write(os.Args[2])
		dump(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "dump":
		dump(os.Args[2])
	case len(os.Args) > 3 && os.Args[1] == "compare":
		compare(os.Args[2:])
	default:
		fmt.Fprintln(os.Stderr, "usage: tsdb write|dump DIR, or compare A B ...")
		os.Exit(2)
	}
}

// A counter histogram that grows with each step, gains buckets and now and then begins anew.
func counter(step, series int64, custom bool) *histogram.Histogram {
	n := step%37 + 1
	h := &histogram.Histogram{
		Schema:          int32(series%9) - 2,
		ZeroThreshold:   []float64{1e-128, 0, math.Ldexp(1, -128)}[series%3],
		ZeroCount:       uint64(n),
		Sum:             float64(n) * 1.7,
		PositiveSpans:   []histogram.Span{{Offset: int32(series%5) - 2, Length: 2}, {Offset: 3, Length: uint32(1 + n/10)}},
		NegativeSpans:   []histogram.Span{{Offset: 1, Length: 1}},
		NegativeBuckets: []int64{n},
	}
	if custom {
		h.Schema, h.ZeroThreshold, h.ZeroCount = histogram.CustomBucketsSchema, 0, 0
		h.NegativeSpans, h.NegativeBuckets = nil, nil
		h.PositiveSpans[0].Offset = 0
		h.CustomValues = []float64{0.005, 0.01, 0.1, 1, 2.5, 10, 1e7, 1.0 / 3 * 1e9, 2e12, 3e12, 4e12}
	}
	before, sum := int64(0), int64(0)
	for i := int64(0); i < 3+n/10; i++ {
		now := n * (i + 1)
		h.PositiveBuckets = append(h.PositiveBuckets, now-before)
		before, sum = now, sum+now
	}
	h.Count = uint64(sum) + h.ZeroCount
	if !custom {
		h.Count += uint64(n)
	}
	return h
}

func write(dir string) {
	check(os.MkdirAll(dir, 0o777))
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, 4*3600*1000)
	check(err)
	ctx := context.Background()
	for step := int64(0); step < 400; step++ {
		app := w.Appender(ctx)
		for series := int64(0); series < 60; series++ {
			kind := series % 6
			l := labels.FromStrings("__name__", fmt.Sprint("m", kind), "i", fmt.Sprint(series), "é.ü", "ö\"\\\n")
			t := 1_700_000_000_000/7_200_000*7_200_000 + step*15_000 + series*step%3
			stale := step%61 == 60
			switch kind {
			case 0:
				v := float64(step*series) / 3
				if stale {
					v = math.Float64frombits(value.StaleNaN)
				}
				_, err = app.Append(0, l, t, v)
			case 1, 2, 3, 4, 5:
				h := counter(step, series, kind == 3 || kind == 4)
				if kind == 5 {
					h.CounterResetHint = histogram.GaugeType
				}
				if stale {
					h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
				}
				if kind == 2 || kind == 4 {
					_, err = app.AppendHistogram(0, l, t, nil, h.ToFloat(nil))
				} else {
					_, err = app.AppendHistogram(0, l, t, h, nil)
				}
			}
			check(err)
		}
		check(app.Commit())
	}
	_, err = w.Flush(ctx)
	check(err)
	check(w.Close())
}

func bits(f float64) string { return fmt.Sprintf("%x", math.Float64bits(f)) }

func spans(b *strings.Builder, spans []histogram.Span, buckets []float64) {
	index, at := 0, 0
	for _, s := range spans {
		index += int(s.Offset)
		for range s.Length {
			if buckets[at] != 0 {
				fmt.Fprintf(b, " %d=%s", index, bits(buckets[at]))
			}
			index++
			at++
		}
	}
	b.WriteString(";")
}

func sample(b *strings.Builder, it chunkenc.Iterator, kind chunkenc.ValueType) {
	var h *histogram.FloatHistogram
	var t int64
	name := "f" // of fractions
	switch kind {
	case chunkenc.ValFloat:
		t, v := it.At()
		fmt.Fprintf(b, "\t%d v %s", t, bits(v))
		return
	case chunkenc.ValHistogram:
		var whole *histogram.Histogram
		t, whole = it.AtHistogram(nil)
		h, name = whole.ToFloat(nil), "h"
	default:
		t, h = it.AtFloatHistogram(nil)
	}
	if value.IsStaleNaN(h.Sum) {
		fmt.Fprintf(b, "\t%d %s stale", t, name)
		return
	}
	gauge := h.CounterResetHint == histogram.GaugeType
	fmt.Fprintf(b, "\t%d %s %v %d %s %s %s %s;", t, name, gauge, h.Schema, bits(h.ZeroThreshold), bits(h.Count), bits(h.ZeroCount), bits(h.Sum))
	spans(b, h.PositiveSpans, h.PositiveBuckets)
	spans(b, h.NegativeSpans, h.NegativeBuckets)
	for _, v := range h.CustomValues {
		b.WriteString(" " + bits(v))
	}
}

func dump(dir string) {
	metas, err := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
	check(err)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, meta := range metas {
		block, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), filepath.Dir(meta), nil, nil)
		check(err)
		q, err := tsdb.NewBlockQuerier(block, math.MinInt64, math.MaxInt64)
		check(err)
		set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".*"))
		for set.Next() {
			var b strings.Builder
			set.At().Labels().Range(func(l labels.Label) { fmt.Fprintf(&b, "%x=%x ", l.Name, l.Value) })
			it := set.At().Iterator(nil)
			for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
				sample(&b, it, kind)
			}
			check(it.Err())
			fmt.Fprintln(out, b.String())
		}
		check(set.Err())
		check(q.Close())
		check(block.Close())
	}
}

func lines(path string) []string {
	text, err := os.ReadFile(path)
	check(err)
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

func compare(files []string) {
	passed, of := 0, 0
	for i := 0; i+1 < len(files); i += 2 {
		wanted, found := lines(files[i]), lines(files[i+1])
		for n, line := range wanted {
			of++
			if n < len(found) && found[n] == line {
				passed++
			} else if n < len(found) {
				at := 0
				for at < len(line) && at < len(found[n]) && line[at] == found[n][at] {
					at++
				}
				from := max(0, at-80)
				fmt.Printf("%s:%d differs at %d:\n %s\n %s\n", files[i], n+1, at, line[from:min(len(line), at+160)], found[n][from:min(len(found[n]), at+160)])
			}
		}
	}
	fmt.Printf("tsdb: %d of %d passed\n", passed, of)
	if passed != of {
		os.Exit(1)
	}
}
