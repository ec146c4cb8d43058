// Command apply is an oracle: it makes random objects and patches, lets Kubernetes' own libraries answer, and prints both
// as JSON lines. The test control/machinery/tests/upstream.rs reads them and compares.
//
// The first lines describe the kinds ("schema"), each later line is one case. The same seed gives the same cases.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// kind is a kind that cases are made of.
type kind struct {
	name       string
	apiVersion string
	empty      any
	schema     *node
}

func main() {
	strategic := flag.Int("strategic", 600, "how many strategic merge patches")
	apply := flag.Int("apply", 300, "how many stories of applies and updates")
	seed := flag.Int64("seed", 1, "the seed of the random values")
	flag.Parse()

	kinds := []*kind{
		{name: "Deployment", apiVersion: "apps/v1", empty: &appsv1.Deployment{}},
		{name: "Pod", apiVersion: "v1", empty: &corev1.Pod{}},
		{name: "Service", apiVersion: "v1", empty: &corev1.Service{}},
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	print := func(line map[string]any) {
		if err := encoder.Encode(line); err != nil {
			fail(err)
		}
	}
	for _, k := range kinds {
		if err := k.describe(); err != nil {
			fail(err)
		}
		print(map[string]any{"schema": k.schema, "kind": k.name})
	}
	random := &values{rand.New(rand.NewSource(*seed))}
	for made := 0; made < *strategic; {
		if line := strategicCase(random, kinds[made%len(kinds)]); line != nil {
			print(line)
			made++
		}
	}
	// A source of its own, since how many patches upstream itself is sure about is up to its maps.
	random = &values{rand.New(rand.NewSource(*seed))}
	for made := range *apply {
		for _, step := range story(random, kinds[made%len(kinds)]) {
			print(step)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "oracle:", err)
	os.Exit(1)
}

// clone copies a value by way of JSON, which leaves integers as int64 as Kubernetes reads them.
func clone[T any](value T) T {
	var copied T
	text, err := json.Marshal(value)
	if err == nil {
		err = unmarshal(text, &copied)
	}
	if err != nil {
		fail(err)
	}
	return copied
}
