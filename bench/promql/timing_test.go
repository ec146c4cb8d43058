// Times Prometheus' engine over the same metrics and queries as xebec's: see ../../observe/promql/examples/timing.rs.
package promql

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/teststorage"
)

const (
	scrape = 15_000
	hours  = 6
)

func TestTiming(t *testing.T) {
	series, _ := strconv.Atoi(os.Getenv("SERIES"))
	storage := teststorage.New(t)
	defer storage.Close()
	samples := int64(hours * 3_600_000 / scrape)
	app := storage.Appender(context.Background())
	put := func(set labels.Labels, value func(int64) float64) {
		for sample := range samples {
			if _, err := app.Append(0, set, sample*scrape, value(sample)); err != nil {
				t.Fatal(err)
			}
		}
	}
	modes := []string{"idle", "user", "system", "iowait", "irq"}
	bounds := []string{"0.1", "0.5", "1", "5", "+Inf"}
	for place := range series {
		instance := fmt.Sprintf("node-%d", place/len(modes))
		put(labels.FromStrings("__name__", "requests_total", "instance", instance, "job", "node", "mode", modes[place%5]),
			func(sample int64) float64 { return float64(sample) * (1 + float64(place)/100) })
		if place%5 == 0 {
			put(labels.FromStrings("__name__", "machine", "instance", instance, "zone", "a"),
				func(int64) float64 { return 1 })
		}
		put(labels.FromStrings("__name__", "latency_bucket", "instance", instance, "le", bounds[place%5]),
			func(sample int64) float64 { return float64(sample * int64(1+place%5)) })
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:               50_000_000,
		Timeout:                  time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60_000 },
	})
	for _, query := range os.Args[slices.Index(os.Args, "--")+1:] {
		var times []time.Duration
		found := 0
		for range 5 {
			begin := time.Now()
			prepared, err := engine.NewRangeQuery(context.Background(), storage, nil, query,
				time.UnixMilli(0), time.UnixMilli(hours*3_600_000), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			result := prepared.Exec(context.Background())
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			if matrix, err := result.Matrix(); err == nil {
				found = len(matrix)
			}
			times = append(times, time.Since(begin))
			prepared.Close()
		}
		slices.Sort(times)
		fmt.Printf("%9.2f ms %6d series  %s\n", float64(times[2].Microseconds())/1000, found, query)
	}
}
