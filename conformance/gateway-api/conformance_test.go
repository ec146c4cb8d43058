// Package conformance runs the Gateway API's own suite; `run` prepares what it needs.
package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	report "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/yaml"
)

const controller = "xebec.dev/gateway"

// TestConformance takes upstream's flags, such as --run-test and --conformance-profiles. XEBEC_CRDS names the folder of
// upstream's definitions.
func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	define(t, options.Client, os.Getenv("XEBEC_CRDS"))
	class := &gateway.GatewayClass{
		ObjectMeta: meta.ObjectMeta{Name: options.GatewayClassName},
		Spec:       gateway.GatewayClassSpec{ControllerName: controller},
	}
	require.NoError(t, client.IgnoreAlreadyExists(options.Client.Create(context.Background(), class)))
	// A test that runs in parallel ends after the report was made, which then counts it as passed.
	for i := range tests.ConformanceTests {
		tests.ConformanceTests[i].Parallel = false
	}
	go startAgain(t.Context(), options.Client)
	conformance.RunConformanceWithOptions(t, options)
	if options.RunTest == "" && options.ReportOutputPath != "" {
		count(t, options)
	}
}

// define puts upstream's definitions in place of those that the program brought, and waits until they are served.
func define(t *testing.T, api client.Client, folder string) {
	files, err := filepath.Glob(filepath.Join(folder, "gateway.networking*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "XEBEC_CRDS names no folder of definitions")
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if !strings.Contains(string(text), "kind: CustomResourceDefinition") {
			continue
		}
		wanted := &extensions.CustomResourceDefinition{}
		require.NoError(t, yaml.Unmarshal(text, wanted), file)
		put(t, api, wanted)
	}
}

func put(t *testing.T, api client.Client, wanted *extensions.CustomResourceDefinition) {
	ctx := context.Background()
	found := &extensions.CustomResourceDefinition{}
	key := client.ObjectKey{Name: wanted.Name}
	require.Eventually(t, func() bool {
		err := api.Get(ctx, key, found)
		if err == nil {
			found.Annotations, found.Labels, found.Spec = wanted.Annotations, wanted.Labels, wanted.Spec
			err = api.Update(ctx, found)
		} else if client.IgnoreNotFound(err) == nil {
			err = api.Create(ctx, wanted.DeepCopy())
		}
		if err != nil {
			t.Logf("%s is tried again: %v", wanted.Name, err)
		}
		return err == nil
	}, 10*time.Second, 50*time.Millisecond, wanted.Name)
	require.Eventually(t, func() bool {
		if err := api.Get(ctx, key, found); err != nil {
			return false
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type == extensions.Established && condition.Status == extensions.ConditionTrue {
				return true
			}
		}
		return false
	}, 10*time.Second, 50*time.Millisecond, "%s is not served", wanted.Name)
}

// count prints the report's counts, one line for the core and one for the extended features of each profile.
func count(t *testing.T, options suite.ConformanceOptions) {
	text, err := os.ReadFile(options.ReportOutputPath)
	require.NoError(t, err)
	result := &report.ConformanceReport{}
	require.NoError(t, yaml.Unmarshal(text, result))
	for _, profile := range result.ProfileReports {
		name := strings.ToLower(profile.Name)
		line := func(part string, counted report.Statistics) {
			of := counted.Passed + counted.Failed + counted.Skipped
			fmt.Printf("%s-%s: %d of %d passed\n", name, part, counted.Passed, of)
		}
		line("core", profile.Core.Statistics)
		if profile.Extended != nil {
			line("extended", profile.Extended.Statistics)
		}
	}
}

// startAgain deletes pods that found no Secret when they started, so that their ReplicaSets replace them: the suite brings
// its Secrets after its Deployments, and the node does not look for them a second time.
func startAgain(ctx context.Context, api client.Client) {
	for ctx.Err() == nil {
		time.Sleep(2 * time.Second)
		pods := &core.PodList{}
		if err := api.List(ctx, pods); err != nil {
			continue
		}
		for _, pod := range pods.Items {
			for _, container := range pod.Status.ContainerStatuses {
				waiting := container.State.Waiting
				if waiting != nil && waiting.Reason == "CreateContainerConfigError" {
					_ = api.Delete(ctx, &pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
				}
			}
		}
	}
}
