package clientgo

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
)

func TestInformersFillFromOneWatchAndNeverList(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Stream")
	seed := typed(t, config())
	together(t, func(writer int) error {
		for round := range 5 {
			_, err := seed.CoreV1().ConfigMaps(space).Create(context.Background(), configMap(fmt.Sprintf("it-%d-%d", writer, round), nil), metav1.CreateOptions{})
			if err != nil {
				return err
			}
		}
		return nil
	})
	wire := &requests{}
	recorded := wire.record(config())
	inBinary := inProtobuf()
	wire.record(inBinary)
	dynamics, err := dynamic.NewForConfig(recorded)
	must(t, err)
	plain := informers.NewSharedInformerFactoryWithOptions(typed(t, recorded), 0, informers.WithNamespace(space))
	binary := informers.NewSharedInformerFactoryWithOptions(typed(t, inBinary), 0, informers.WithNamespace(space))
	custom := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamics, 0, space, nil)
	all := []cache.SharedIndexInformer{
		plain.Core().V1().ConfigMaps().Informer(), binary.Core().V1().ConfigMaps().Informer(), custom.ForResource(plural(kind)).Informer()}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); plain.Shutdown(); binary.Shutdown(); custom.Shutdown() })
	plain.Start(stop)
	binary.Start(stop)
	custom.Start(stop)
	for _, informer := range all {
		synced(t, "informer", informer)
	}
	churn(t, seed, space, 10)
	want := stored(t, seed, space)
	for _, informer := range all[:2] {
		eventually(t, func() string { return difference(known(t, informer.GetStore()), want) })
	}
	equal(t, "streams", wire.count("GET", "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"), len(all))
	equal(t, "requests that are no watch", wire.count("GET")-wire.count("GET", "watch=true"), 0)
}

func TestAStreamedListTellsAllThenABookmarkThenChanges(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	for number := range 3 {
		_, err := api.Create(t.Context(), configMap(fmt.Sprintf("it-%d", number), nil), metav1.CreateOptions{})
		must(t, err)
	}
	stream := true
	watcher, err := api.Watch(t.Context(), metav1.ListOptions{
		LabelSelector: "made-by=clients", SendInitialEvents: &stream, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	must(t, err)
	defer watcher.Stop()
	var newest string
	for range 3 {
		event := next(t, watcher)
		equal(t, "event", event.Type, watch.Added)
		newest = event.Object.(*corev1.ConfigMap).ResourceVersion
	}
	mark := next(t, watcher)
	equal(t, "event", mark.Type, watch.Bookmark)
	marked := mark.Object.(*corev1.ConfigMap)
	equal(t, "annotation", marked.Annotations[metav1.InitialEventsAnnotationKey], "true")
	if older, err := compareRevisions(marked.ResourceVersion, newest); err != nil || older {
		t.Fatalf("the bookmark's revision %s is before %s (%v)", marked.ResourceVersion, newest, err)
	}
	made, err := api.Create(t.Context(), configMap("later", nil), metav1.CreateOptions{})
	must(t, err)
	event := next(t, watcher)
	equal(t, "event", event.Type, watch.Added)
	equal(t, "revision", event.Object.(*corev1.ConfigMap).ResourceVersion, made.ResourceVersion)
}

func TestAStreamedListWithoutItsMatchIsRefused(t *testing.T) {
	t.Parallel()
	stream := true
	_, err := typed(t, config()).CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{SendInitialEvents: &stream})
	if !apierrors.IsInvalid(err) {
		t.Fatalf("a streamed list without resourceVersionMatch: %v", err)
	}
}

func TestPagesTellOneRevisionWhileOthersWrite(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	var want []string
	for number := range 53 {
		made, err := api.Create(t.Context(), configMap(fmt.Sprintf("it-%02d", number), nil), metav1.CreateOptions{})
		must(t, err)
		want = append(want, made.Name)
	}
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for number := 0; ; number++ {
			select {
			case <-done:
				return
			default:
			}
			name := fmt.Sprintf("new-%d", number)
			_, _ = api.Create(context.Background(), configMap(name, nil), metav1.CreateOptions{})
			_ = api.Delete(context.Background(), name, metav1.DeleteOptions{})
		}
	}()
	together(t, func(writer int) error {
		paged := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
			return api.List(context.Background(), options)
		}))
		paged.PageSize = int64(writer + 1)
		listed, _, err := paged.List(context.Background(), metav1.ListOptions{LabelSelector: "made-by=clients", FieldSelector: "metadata.namespace=" + space})
		if err != nil {
			return err
		}
		var names []string
		if err := meta.EachListItem(listed, func(item runtime.Object) error {
			object, err := meta.Accessor(item)
			names = append(names, object.GetName())
			return err
		}); err != nil {
			return err
		}
		slices.Sort(names)
		names = slices.DeleteFunc(names, func(name string) bool { return name[:3] == "new" })
		if !slices.Equal(names, want) {
			return fmt.Errorf("pages of %d told %v", paged.PageSize, names)
		}
		return nil
	})
	close(done)
	<-finished
	all, err := api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	first, err := api.List(t.Context(), metav1.ListOptions{Limit: 10})
	must(t, err)
	if first.RemainingItemCount == nil || int(*first.RemainingItemCount) != len(all.Items)-10 {
		t.Fatalf("%v remain of %d after 10", first.RemainingItemCount, len(all.Items))
	}
}

func TestAListAtARevisionIsThatRevision(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	_, err := api.Create(t.Context(), configMap("first", nil), metav1.CreateOptions{})
	must(t, err)
	before, err := api.List(t.Context(), metav1.ListOptions{LabelSelector: "made-by=clients"})
	must(t, err)
	_, err = api.Create(t.Context(), configMap("second", nil), metav1.CreateOptions{})
	must(t, err)
	exact, err := api.List(t.Context(), metav1.ListOptions{LabelSelector: "made-by=clients",
		ResourceVersion: before.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	must(t, err)
	equal(t, "objects at the revision", len(exact.Items), 1)
	equal(t, "revision", exact.ResourceVersion, before.ResourceVersion)
	newer, err := api.List(t.Context(), metav1.ListOptions{LabelSelector: "made-by=clients",
		ResourceVersion: before.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	must(t, err)
	equal(t, "objects now", len(newer.Items), 2)
}
