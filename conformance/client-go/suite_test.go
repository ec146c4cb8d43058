// Package clientgo drives client-go and controller-runtime as operators use them against a running instance, with many
// goroutines at a time so that the race detector has something to find. Each test is a behaviour and has a namespace of its own.
package clientgo

import (
	"context"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// writers is how many goroutines write at a time where a test wants many.
const writers = 16

// patience is how long a test waits for what must come about.
const patience = 30 * time.Second

var shared *rest.Config

func TestMain(m *testing.M) {
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "KUBECONFIG must name an instance:", err)
		os.Exit(1)
	}
	config.QPS = -1
	shared = config
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// config is a copy of the configuration that the caller may change.
func config() *rest.Config { return rest.CopyConfig(shared) }

func typed(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	clients, err := kubernetes.NewForConfig(config)
	must(t, err)
	return clients
}

// namespace makes a namespace that goes with the test.
func namespace(t *testing.T) string {
	t.Helper()
	clients := typed(t, config())
	made, err := clients.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clients-"}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		must(t, clients.CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{}))
	})
	return made.Name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits until `holds` tells nothing, else fails with what it told last.
func eventually(t *testing.T, holds func() string) {
	t.Helper()
	var told string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if told = holds(); told == "" {
			return
		}
	}
	t.Fatalf("did not come about within %v: %s", patience, told)
}

// together runs `work` in as many goroutines as `writers` says, and waits for all.
func together(t *testing.T, work func(writer int) error) {
	t.Helper()
	var group sync.WaitGroup
	for writer := range writers {
		group.Go(func() {
			if err := work(writer); err != nil {
				t.Errorf("writer %d: %v", writer, err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"made-by": "clients"}}, Data: data}
}

// difference tells how two sets of keys with their revisions are not the same.
func difference(got, want map[string]string) string {
	var told []string
	for key, revision := range want {
		if have, ok := got[key]; !ok {
			told = append(told, key+" is missing")
		} else if have != revision {
			told = append(told, fmt.Sprintf("%s is at %s, want %s", key, have, revision))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			told = append(told, key+" is gone but still known")
		}
	}
	return strings.Join(told, "; ")
}
