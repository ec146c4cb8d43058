package clientgo

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

var configMaps = corev1.SchemeGroupVersion.WithResource("configmaps")

// synced waits until an informer has everything.
func synced(t *testing.T, what string, informer cache.SharedIndexInformer) {
	t.Helper()
	limit, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !cache.WaitForCacheSync(limit.Done(), informer.HasSynced) {
		t.Fatalf("the %s did not sync within %v", what, patience)
	}
}

// churn creates, changes and deletes config maps from many goroutines at a time.
func churn(t *testing.T, clients kubernetes.Interface, space string, rounds int) {
	t.Helper()
	together(t, func(writer int) error {
		random := rand.New(rand.NewSource(int64(writer)))
		api := clients.CoreV1().ConfigMaps(space)
		for round := range rounds {
			name := fmt.Sprintf("it-%d-%d", writer, random.Intn(8))
			var err error
			switch found, failed := api.Get(context.Background(), name, metav1.GetOptions{}); {
			case apierrors.IsNotFound(failed):
				_, err = api.Create(context.Background(), configMap(name, map[string]string{"round": fmt.Sprint(round)}), metav1.CreateOptions{})
			case failed != nil:
				err = failed
			case random.Intn(4) == 0:
				err = api.Delete(context.Background(), name, metav1.DeleteOptions{})
			default:
				found.Data = map[string]string{"round": fmt.Sprint(round)}
				_, err = api.Update(context.Background(), found, metav1.UpdateOptions{})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// stored is what the API holds: each object's key with its revision.
func stored(t *testing.T, clients kubernetes.Interface, space string) map[string]string {
	t.Helper()
	list, err := clients.CoreV1().ConfigMaps(space).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	revisions := map[string]string{}
	for _, item := range list.Items {
		revisions[item.Namespace+"/"+item.Name] = item.ResourceVersion
	}
	return revisions
}

func known(t *testing.T, store cache.Store) map[string]string {
	t.Helper()
	revisions := map[string]string{}
	for _, item := range store.List() {
		object, err := meta.Accessor(item)
		must(t, err)
		revisions[object.GetNamespace()+"/"+object.GetName()] = object.GetResourceVersion()
	}
	return revisions
}

func TestTypedDynamicAndMetadataInformersAgreeWithTheStore(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	dynamics, err := dynamic.NewForConfig(config())
	must(t, err)
	metadatas, err := metadata.NewForConfig(config())
	must(t, err)

	typedFactory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(space))
	dynamicFactory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamics, 0, space, nil)
	metadataFactory := metadatainformer.NewFilteredSharedInformerFactory(metadatas, 0, space, nil)
	all := map[string]cache.SharedIndexInformer{
		"typed":    typedFactory.Core().V1().ConfigMaps().Informer(),
		"dynamic":  dynamicFactory.ForResource(configMaps).Informer(),
		"metadata": metadataFactory.ForResource(configMaps).Informer(),
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); typedFactory.Shutdown(); dynamicFactory.Shutdown(); metadataFactory.Shutdown() })
	typedFactory.Start(stop)
	dynamicFactory.Start(stop)
	metadataFactory.Start(stop)
	for name, informer := range all {
		synced(t, name+" informer", informer)
	}
	churn(t, clients, space, 40)
	want := stored(t, clients, space)
	for name, informer := range all {
		eventually(t, func() string {
			if told := difference(known(t, informer.GetStore()), want); told != "" {
				return name + ": " + told
			}
			return ""
		})
	}
}

func TestHandlersSeeEveryObjectAddedOnceAndRevisionsOnlyGrow(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(space))
	informer := factory.Core().V1().ConfigMaps().Informer()
	var lock sync.Mutex
	alive := map[string]bool{}
	var wrong []string
	note := func(format string, values ...any) { wrong = append(wrong, fmt.Sprintf(format, values...)) }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(added any) {
			lock.Lock()
			defer lock.Unlock()
			uid := string(added.(*corev1.ConfigMap).UID)
			if alive[uid] {
				note("%s was added twice", uid)
			}
			alive[uid] = true
		},
		UpdateFunc: func(before, after any) {
			lock.Lock()
			defer lock.Unlock()
			old, new := before.(*corev1.ConfigMap), after.(*corev1.ConfigMap)
			grown, err := compareRevisions(old.ResourceVersion, new.ResourceVersion)
			if err != nil || old.UID != new.UID || !grown || !alive[string(new.UID)] {
				note("%s went from revision %s of %s to %s of %s", new.Name, old.ResourceVersion, old.UID, new.ResourceVersion, new.UID)
			}
		},
		DeleteFunc: func(gone any) {
			lock.Lock()
			defer lock.Unlock()
			if last, ok := gone.(cache.DeletedFinalStateUnknown); ok {
				gone = last.Obj
			}
			uid := string(gone.(*corev1.ConfigMap).UID)
			if !alive[uid] {
				note("%s was deleted without having been added", uid)
			}
			delete(alive, uid)
		},
	})
	must(t, err)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.Start(stop)
	synced(t, "informer", factory.Core().V1().ConfigMaps().Informer())
	churn(t, clients, space, 40)
	want := len(stored(t, clients, space))
	eventually(t, func() string {
		lock.Lock()
		defer lock.Unlock()
		if len(alive) != want {
			return fmt.Sprintf("%d objects are alive to the handlers, want %d", len(alive), want)
		}
		return ""
	})
	lock.Lock()
	defer lock.Unlock()
	equal(t, "what went wrong", wrong, nil)
}

func TestAResyncTellsEachObjectAgainWithoutAskingTheServer(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	wire := &requests{}
	clients := typed(t, wire.record(config()))
	for number := range 5 {
		_, err := clients.CoreV1().ConfigMaps(space).Create(t.Context(), configMap(fmt.Sprintf("it-%d", number), nil), metav1.CreateOptions{})
		must(t, err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clients, time.Second, informers.WithNamespace(space))
	informer := factory.Core().V1().ConfigMaps().Informer()
	var again atomic.Int64
	_, err := informer.AddEventHandlerWithResyncPeriod(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, after any) {
			if before.(*corev1.ConfigMap).ResourceVersion == after.(*corev1.ConfigMap).ResourceVersion {
				again.Add(1)
			}
		},
	}, time.Second)
	must(t, err)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.Start(stop)
	synced(t, "informer", factory.Core().V1().ConfigMaps().Informer())
	lists := func() int { return wire.count("GET") - wire.count("GET", "watch=true") }
	asked := lists()
	eventually(t, func() string {
		if told := again.Load(); told < 10 {
			return fmt.Sprintf("told again %d times, want 10", told)
		}
		return ""
	})
	equal(t, "lists since the cache was whole", lists(), asked)
}

func TestALabelSelectorTurnsALostLabelIntoADeletion(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(space),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "made-by=clients" }))
	store := factory.Core().V1().ConfigMaps().Informer().GetStore()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.Start(stop)
	synced(t, "informer", factory.Core().V1().ConfigMaps().Informer())
	made, err := clients.CoreV1().ConfigMaps(space).Create(t.Context(), configMap("it", nil), metav1.CreateOptions{})
	must(t, err)
	has := func(wanted int) func() string {
		return func() string {
			if have := len(store.List()); have != wanted {
				return fmt.Sprintf("%d objects, want %d", have, wanted)
			}
			return ""
		}
	}
	eventually(t, has(1))
	made.Labels = nil
	made, err = clients.CoreV1().ConfigMaps(space).Update(t.Context(), made, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, has(0))
	made.Labels = map[string]string{"made-by": "clients"}
	_, err = clients.CoreV1().ConfigMaps(space).Update(t.Context(), made, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, has(1))
}

func TestAFieldSelectorWatchesOneObject(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	watcher, err := clients.CoreV1().ConfigMaps(space).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=chosen"})
	must(t, err)
	defer watcher.Stop()
	for _, name := range []string{"other", "chosen", "another"} {
		_, err := clients.CoreV1().ConfigMaps(space).Create(t.Context(), configMap(name, nil), metav1.CreateOptions{})
		must(t, err)
	}
	must(t, clients.CoreV1().ConfigMaps(space).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "made-by=clients"}))
	for _, want := range []string{"ADDED chosen", "DELETED chosen"} {
		select {
		case event := <-watcher.ResultChan():
			object, err := meta.Accessor(event.Object)
			must(t, err)
			equal(t, "event", string(event.Type)+" "+object.GetName(), want)
		case <-time.After(patience):
			t.Fatalf("no event; want %s", want)
		}
	}
}

func TestAnIndexOverAnInformerFollowsChanges(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(space),
		informers.WithTransform(func(object any) (any, error) {
			if held, ok := object.(*corev1.ConfigMap); ok {
				held.ManagedFields = nil
			}
			return object, nil
		}))
	informer := factory.Core().V1().ConfigMaps().Informer()
	must(t, informer.AddIndexers(cache.Indexers{"colour": func(object any) ([]string, error) {
		return []string{object.(*corev1.ConfigMap).Data["colour"]}, nil
	}}))
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.Start(stop)
	synced(t, "informer", factory.Core().V1().ConfigMaps().Informer())
	together(t, func(writer int) error {
		name := fmt.Sprintf("it-%d", writer)
		made, err := clients.CoreV1().ConfigMaps(space).Create(context.Background(), configMap(name, map[string]string{"colour": "red"}), metav1.CreateOptions{})
		if err != nil || writer%2 == 0 {
			return err
		}
		made.Data["colour"] = "blue"
		_, err = clients.CoreV1().ConfigMaps(space).Update(context.Background(), made, metav1.UpdateOptions{})
		return err
	})
	eventually(t, func() string {
		red, _ := informer.GetIndexer().ByIndex("colour", "red")
		blue, _ := informer.GetIndexer().ByIndex("colour", "blue")
		if len(red) != writers/2 || len(blue) != writers/2 {
			return fmt.Sprintf("%d red, %d blue", len(red), len(blue))
		}
		return ""
	})
	for _, held := range informer.GetStore().List() {
		equal(t, "managed fields after the transform", held.(*corev1.ConfigMap).ManagedFields, nil)
	}
}

// breaking dials connections that are cut again and again.
type breaking struct {
	lock sync.Mutex
	open []net.Conn
}

func (b *breaking) dial(ctx context.Context, network, address string) (net.Conn, error) {
	made, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		b.lock.Lock()
		b.open = append(b.open, made)
		b.lock.Unlock()
	}
	return made, err
}

func (b *breaking) cut() (cut int) {
	b.lock.Lock()
	defer b.lock.Unlock()
	for _, held := range b.open {
		_ = held.Close()
	}
	cut, b.open = len(b.open), nil
	return cut
}

func TestAnInformerLosesNothingWhileItsConnectionsAreCut(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	broken := config()
	line := &breaking{}
	broken.Dial = line.dial
	factory := informers.NewSharedInformerFactoryWithOptions(typed(t, broken), 0, informers.WithNamespace(space))
	informer := factory.Core().V1().ConfigMaps().Informer()
	must(t, informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {}))
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.Start(stop)
	synced(t, "informer", factory.Core().V1().ConfigMaps().Informer())
	done := make(chan struct{})
	cuts := make(chan int)
	go func() {
		total := 0
		for {
			select {
			case <-done:
				cuts <- total
				return
			case <-time.After(100 * time.Millisecond):
				total += line.cut()
			}
		}
	}()
	churn(t, clients, space, 60)
	close(done)
	if <-cuts == 0 {
		t.Fatal("no connection was cut")
	}
	want := stored(t, clients, space)
	eventually(t, func() string { return difference(known(t, informer.GetStore()), want) })
}

func TestAWatchFromARevisionTellsEverythingSinceInOrder(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	list, err := clients.CoreV1().ConfigMaps(space).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	churn(t, clients, space, 20)
	want := stored(t, clients, space)
	// Several watches from the same revision tell the same.
	var histories [4][]string
	var group sync.WaitGroup
	for number := range histories {
		group.Go(func() {
			timeout := int64(3)
			watcher, err := clients.CoreV1().ConfigMaps(space).Watch(context.Background(),
				metav1.ListOptions{ResourceVersion: list.ResourceVersion, TimeoutSeconds: &timeout})
			if err != nil {
				t.Error(err)
				return
			}
			defer watcher.Stop()
			for event := range watcher.ResultChan() {
				object, err := meta.Accessor(event.Object)
				if err != nil {
					t.Errorf("%s: %#v", event.Type, event.Object)
					return
				}
				histories[number] = append(histories[number], fmt.Sprint(event.Type, object.GetName(), object.GetResourceVersion()))
			}
		})
	}
	group.Wait()
	if len(histories[0]) < len(want) {
		t.Fatalf("%d events tell of %d objects", len(histories[0]), len(want))
	}
	for number := range histories {
		equal(t, fmt.Sprintf("history %d", number), histories[number], histories[0])
	}
}
