package clientgo

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const finalizer = "clients.xebec.dev/shelf"

// shelf is a custom kind that wants a config map of its colour.
type shelf struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              shelfSpec   `json:"spec,omitempty"`
	Status            shelfStatus `json:"status,omitempty"`
}

type shelfSpec struct {
	Colour   string `json:"colour,omitempty"`
	Replicas int32  `json:"replicas,omitempty"`
}

type shelfStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

func (s *shelf) DeepCopyObject() runtime.Object {
	made := *s
	s.ObjectMeta.DeepCopyInto(&made.ObjectMeta)
	made.Status.Conditions = append([]metav1.Condition(nil), s.Status.Conditions...)
	return &made
}

type shelfList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []shelf `json:"items"`
}

func (s *shelfList) DeepCopyObject() runtime.Object {
	made := *s
	made.Items = nil
	for number := range s.Items {
		made.Items = append(made.Items, *s.Items[number].DeepCopyObject().(*shelf))
	}
	return &made
}

// shelves reconciles them: a config map each, which it owns, and a status; what it made elsewhere it takes away at the end.
type shelves struct {
	client.Client
	runs, cleared atomic.Int64
}

func (s *shelves) Reconcile(ctx context.Context, asked reconcile.Request) (reconcile.Result, error) {
	s.runs.Add(1)
	held := &shelf{}
	if err := s.Get(ctx, asked.NamespacedName, held); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !held.DeletionTimestamp.IsZero() {
		if controllerutil.RemoveFinalizer(held, finalizer) {
			if err := s.Update(ctx, held); err != nil {
				return again(err)
			}
			s.cleared.Add(1)
		}
		return reconcile.Result{}, nil
	}
	if controllerutil.AddFinalizer(held, finalizer) {
		if err := s.Update(ctx, held); err != nil {
			return again(err)
		}
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: held.Namespace, Name: held.Name}}
	if _, err := controllerutil.CreateOrUpdate(ctx, s.Client, owned, func() error {
		owned.Data = map[string]string{"colour": held.Spec.Colour}
		return controllerutil.SetControllerReference(held, owned, s.Scheme())
	}); err != nil {
		return again(err)
	}
	changed := meta.SetStatusCondition(&held.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Painted", Message: held.Spec.Colour, ObservedGeneration: held.Generation})
	if changed || held.Status.ObservedGeneration != held.Generation {
		held.Status.ObservedGeneration = held.Generation
		if err := s.Status().Update(ctx, held); err != nil {
			return again(err)
		}
	}
	return reconcile.Result{}, nil
}

// again takes what another wrote in between for a reason to look again, as operators do.
func again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: 10 * time.Millisecond}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// operate runs a manager with the reconciler over a namespace.
func operate(t *testing.T, space string, kind schema.GroupVersionKind, change func(*ctrl.Options)) (client.Client, *shelves) {
	t.Helper()
	kinds := runtime.NewScheme()
	must(t, scheme.AddToScheme(kinds))
	kinds.AddKnownTypeWithName(kind, &shelf{})
	kinds.AddKnownTypeWithName(kind.GroupVersion().WithKind(kind.Kind+"List"), &shelfList{})
	metav1.AddToGroupVersion(kinds, kind.GroupVersion())
	options := ctrl.Options{
		Scheme: kinds, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{space: {}}},
	}
	change(&options)
	manager, err := ctrl.NewManager(config(), options)
	must(t, err)
	reconciler := &shelves{Client: manager.GetClient()}
	skip := true
	must(t, ctrl.NewControllerManagedBy(manager).For(&shelf{}).Owns(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8, SkipNameValidation: &skip}).Complete(reconciler))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	t.Cleanup(func() { stop(); must(t, <-ended) })
	direct, err := client.New(config(), client.Options{Scheme: kinds})
	must(t, err)
	return direct, reconciler
}

func TestAReconcilerWithFinalizerAndStatusSettlesWhatManyWrite(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients, reconciler := operate(t, space, define(t, "Shelf"), func(*ctrl.Options) {})
	const each = 4
	colours := []string{"red", "blue"}
	together(t, func(writer int) error {
		for number := range each {
			made := &shelf{ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: fmt.Sprintf("it-%d-%d", writer, number)}, Spec: shelfSpec{Colour: "red"}}
			if err := clients.Create(context.Background(), made); err != nil {
				return err
			}
		}
		for round := range 6 {
			key := client.ObjectKey{Namespace: space, Name: fmt.Sprintf("it-%d-%d", (writer+round)%writers, round%each)}
			held := &shelf{}
			err := retry.OnError(stubborn, func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }, func() error {
				if err := clients.Get(context.Background(), key, held); err != nil {
					return err
				}
				held.Spec.Colour = colours[round%2]
				return clients.Update(context.Background(), held)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	settled := func() string {
		all, owned := &shelfList{}, &corev1.ConfigMapList{}
		if err := clients.List(t.Context(), all, client.InNamespace(space)); err != nil {
			return err.Error()
		}
		if err := clients.List(t.Context(), owned, client.InNamespace(space)); err != nil {
			return err.Error()
		}
		painted := map[string]corev1.ConfigMap{}
		for _, item := range owned.Items {
			painted[item.Name] = item
		}
		if len(all.Items) != writers*each {
			return fmt.Sprintf("%d objects", len(all.Items))
		}
		for _, item := range all.Items {
			ready := meta.FindStatusCondition(item.Status.Conditions, "Ready")
			made, ok := painted[item.Name]
			if item.Status.ObservedGeneration != item.Generation || ready == nil || ready.Message != item.Spec.Colour ||
				!ok || made.Data["colour"] != item.Spec.Colour || !metav1.IsControlledBy(&made, &item) {
				return fmt.Sprintf("%s at generation %d has the status %+v and owns %v", item.Name, item.Generation, item.Status, made.Data)
			}
		}
		return ""
	}
	eventually(t, settled)

	// What it owns comes back when another takes it away.
	must(t, clients.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: "it-0-0"}}))
	eventually(t, settled)

	// Once settled nothing is left to do: a write that changes nothing causes no event.
	time.Sleep(500 * time.Millisecond)
	before := reconciler.runs.Load()
	held := &shelf{}
	must(t, clients.Get(t.Context(), client.ObjectKey{Namespace: space, Name: "it-0-0"}, held))
	revision := held.ResourceVersion
	must(t, clients.Update(t.Context(), held))
	equal(t, "revision after a write that changes nothing", held.ResourceVersion, revision)
	time.Sleep(500 * time.Millisecond)
	equal(t, "reconciliations since", reconciler.runs.Load(), before)

	// Deleted objects stay until the finalizer is gone, then so does what they owned.
	must(t, clients.DeleteAllOf(t.Context(), &shelf{}, client.InNamespace(space)))
	eventually(t, func() string {
		all, owned := &shelfList{}, &corev1.ConfigMapList{}
		if err := clients.List(t.Context(), all, client.InNamespace(space)); err != nil {
			return err.Error()
		}
		if err := clients.List(t.Context(), owned, client.InNamespace(space)); err != nil {
			return err.Error()
		}
		left := 0
		for _, item := range owned.Items {
			if metav1.GetControllerOf(&item) != nil {
				left++
			}
		}
		if len(all.Items)+left > 0 {
			return fmt.Sprintf("%d objects and %d that they own are left", len(all.Items), left)
		}
		return ""
	})
	equal(t, "finalizers run", reconciler.cleared.Load(), int64(writers*each))
}

func TestOfTwoManagersTheSecondWorksOnlyAfterTheFirstStopped(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Rack")
	lease, often, deadline := 3*time.Second, 200*time.Millisecond, 2*time.Second
	elect := func(options *ctrl.Options) {
		options.LeaderElection, options.LeaderElectionID, options.LeaderElectionNamespace = true, "racks", space
		options.LeaseDuration, options.RetryPeriod, options.RenewDeadline = &lease, &often, &deadline
		options.LeaderElectionReleaseOnCancel = true
	}
	works := func(reconciler *shelves) func() string {
		return func() string {
			if reconciler.runs.Load() == 0 {
				return "a manager does not reconcile"
			}
			return ""
		}
	}
	var second *shelves
	var clients client.Client
	// Cleanups of the inner test stop the first, those of the outer the second.
	t.Run("while the first runs", func(inner *testing.T) {
		direct, first := operate(inner, space, kind, elect)
		must(inner, direct.Create(inner.Context(), &shelf{ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: "one"}, Spec: shelfSpec{Colour: "red"}}))
		eventually(inner, works(first))
		clients, second = operate(t, space, kind, elect)
		time.Sleep(time.Second)
		equal(inner, "reconciliations of the second", second.runs.Load(), int64(0))
	})
	eventually(t, works(second))
	must(t, clients.DeleteAllOf(t.Context(), &shelf{}, client.InNamespace(space)))
	eventually(t, func() string {
		all := &shelfList{}
		if err := clients.List(t.Context(), all, client.InNamespace(space)); err != nil || len(all.Items) == 0 {
			return text(err)
		}
		return "the second does not take the finalizer away"
	})
}
