package clientgo

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	autoscaling "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
)

func custom(kind schema.GroupVersionKind, name string, spec map[string]any) *unstructured.Unstructured {
	made := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	made.SetGroupVersionKind(kind)
	made.SetName(name)
	return made
}

func TestTheDynamicClientDrivesACustomKindWithItsStatus(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Lamp")
	clients, err := dynamic.NewForConfig(config())
	must(t, err)
	api := clients.Resource(plural(kind)).Namespace(space)
	together(t, func(writer int) error {
		made, err := api.Create(context.Background(), custom(kind, fmt.Sprintf("it-%d", writer), map[string]any{"colour": "red"}), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if replicas, _, _ := unstructured.NestedInt64(made.Object, "spec", "replicas"); replicas != 1 {
			return fmt.Errorf("the schema's default is %d, want 1", replicas)
		}
		made.Object["status"] = map[string]any{"replicas": int64(writer)}
		made.Object["spec"] = map[string]any{"colour": "blue"}
		made, err = api.UpdateStatus(context.Background(), made, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		if colour, _, _ := unstructured.NestedString(made.Object, "spec", "colour"); colour != "red" {
			return fmt.Errorf("a change of the status made the colour %s", colour)
		}
		if made.GetGeneration() != 1 {
			return fmt.Errorf("a change of the status made the generation %d", made.GetGeneration())
		}
		wanted := custom(kind, made.GetName(), map[string]any{"colour": "blue"})
		made, err = api.Apply(context.Background(), made.GetName(), wanted, metav1.ApplyOptions{FieldManager: "applier", Force: true})
		if err != nil {
			return err
		}
		if replicas, _, _ := unstructured.NestedInt64(made.Object, "status", "replicas"); replicas != int64(writer) || made.GetGeneration() != 2 {
			return fmt.Errorf("after apply the status is %d and the generation %d", replicas, made.GetGeneration())
		}
		return nil
	})
	list, err := api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	equal(t, "objects", len(list.Items), writers)
	equal(t, "kind of the list", list.GetKind(), "LampList")
	_, err = api.Create(t.Context(), custom(kind, "bad", map[string]any{"colour": "green"}), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || err.(apierrors.APIStatus).Status().Details.Causes[0].Field != "spec.colour" {
		t.Fatalf("a colour that the schema forbids: %v", err)
	}
	must(t, api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name!=it-3"}))
	list, err = api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	equal(t, "objects that stay", len(list.Items), 1)
}

func TestStrictValidationNamesFieldsThatTheSchemaDoesNotKnow(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Strict")
	clients, err := dynamic.NewForConfig(config())
	must(t, err)
	api := clients.Resource(plural(kind)).Namespace(space)
	unknown := custom(kind, "it", map[string]any{"colour": "red", "color": "red"})
	_, err = api.Create(t.Context(), unknown, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if !apierrors.IsBadRequest(err) {
		t.Fatalf("an unknown field: %v", err)
	}
	made, err := api.Create(t.Context(), unknown, metav1.CreateOptions{FieldValidation: metav1.FieldValidationIgnore})
	must(t, err)
	if _, kept, _ := unstructured.NestedString(made.Object, "spec", "color"); kept {
		t.Fatal("an unknown field was kept")
	}
}

func TestTheMetadataClientReadsPatchesAndWatchesOnlyMetadata(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Meter")
	objects, err := dynamic.NewForConfig(config())
	must(t, err)
	clients, err := metadata.NewForConfig(config())
	must(t, err)
	api := clients.Resource(plural(kind)).Namespace(space)
	_, err = objects.Resource(plural(kind)).Namespace(space).Create(t.Context(), custom(kind, "it", map[string]any{"colour": "red"}), metav1.CreateOptions{})
	must(t, err)
	list, err := api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	equal(t, "objects", len(list.Items), 1)
	watcher, err := api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	must(t, err)
	defer watcher.Stop()
	patched, err := api.Patch(t.Context(), "it", types.MergePatchType, []byte(`{"metadata":{"annotations":{"seen":"yes"}},"spec":{"colour":"blue"}}`), metav1.PatchOptions{})
	must(t, err)
	equal(t, "annotations", patched.Annotations, map[string]string{"seen": "yes"})
	must(t, api.Delete(t.Context(), "it", metav1.DeleteOptions{}))
	for _, want := range []watch.EventType{watch.Modified, watch.Deleted} {
		event := next(t, watcher)
		held, ok := event.Object.(*metav1.PartialObjectMetadata)
		if !ok || event.Type != want || held.Name != "it" || held.Annotations["seen"] != "yes" {
			t.Fatalf("%s of %#v, want %s", event.Type, event.Object, want)
		}
	}
}

func next(t *testing.T, watcher watch.Interface) watch.Event {
	t.Helper()
	select {
	case event, open := <-watcher.ResultChan():
		if !open {
			t.Fatal("the watch ended")
		}
		return event
	case <-time.After(patience):
		t.Fatal("no event")
	}
	panic("not reached")
}

func TestANewKindIsDiscoveredMappedAndForgotten(t *testing.T) {
	t.Parallel()
	clients, err := discovery.NewDiscoveryClientForConfig(config())
	must(t, err)
	cached := memory.NewMemCacheClient(clients)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	kind := schema.GroupVersionKind{Group: "fleeting.clients.xebec.dev", Version: "v1", Kind: "Fleeting"}
	if _, err := mapper.RESTMapping(kind.GroupKind()); !meta.IsNoMatchError(err) {
		t.Fatalf("known before it is defined: %v", err)
	}
	t.Run("while it is defined", func(t *testing.T) {
		define(t, kind.Kind)
		eventually(t, func() string {
			mapper.Reset()
			mapping, err := mapper.RESTMapping(kind.GroupKind())
			if err != nil {
				return err.Error()
			}
			if mapping.Resource != plural(kind) || mapping.Scope != meta.RESTScopeNamespace {
				t.Fatalf("mapped to %v in %v", mapping.Resource, mapping.Scope)
			}
			return ""
		})
	})
	eventually(t, func() string {
		mapper.Reset()
		if _, err := mapper.RESTMapping(kind.GroupKind()); !meta.IsNoMatchError(err) {
			return fmt.Sprintf("still known after its definition is gone: %v", err)
		}
		return ""
	})
}

func TestAggregatedAndPlainDiscoveryTellTheSameResources(t *testing.T) {
	// Not beside tests that define kinds.
	aggregated, err := discovery.NewDiscoveryClientForConfig(config())
	must(t, err)
	plain, err := discovery.NewDiscoveryClientForConfig(config())
	must(t, err)
	plain.UseLegacyDiscovery = true
	names := func(client discovery.DiscoveryInterface) map[string]string {
		_, lists, err := client.ServerGroupsAndResources()
		must(t, err)
		told := map[string]string{}
		for _, list := range lists {
			for _, resource := range list.APIResources {
				if strings.Contains(resource.Name, "/") {
					resource.SingularName = "" // client-go makes it up of aggregated discovery alone.
				}
				told[list.GroupVersion+"/"+resource.Name] = fmt.Sprint(resource.Kind, resource.Namespaced, resource.Verbs, resource.ShortNames, resource.Categories, resource.SingularName)
			}
		}
		return told
	}
	eventually(t, func() string { return difference(names(aggregated), names(plain)) })
}

func TestTheScaleClientScalesBuiltInAndCustomKindsAlike(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Sail")
	objects, err := dynamic.NewForConfig(config())
	must(t, err)
	_, err = objects.Resource(plural(kind)).Namespace(space).Create(t.Context(), custom(kind, "it", map[string]any{}), metav1.CreateOptions{})
	must(t, err)
	deployment := custom(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, "it", map[string]any{
		"replicas": int64(0),
		"selector": map[string]any{"matchLabels": map[string]any{"app": "it"}},
		"template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": "it"}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "it", "image": "it"}}},
		},
	})
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	_, err = objects.Resource(deployments).Namespace(space).Create(t.Context(), deployment, metav1.CreateOptions{})
	must(t, err)

	discovered, err := discovery.NewDiscoveryClientForConfig(config())
	must(t, err)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovered))
	eventually(t, func() string {
		mapper.Reset()
		_, err := mapper.RESTMapping(kind.GroupKind())
		return text(err)
	})
	scales, err := scale.NewForConfig(config(), mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(discovered))
	must(t, err)
	for _, scaled := range []schema.GroupVersionResource{plural(kind), deployments} {
		held, err := scales.Scales(space).Get(t.Context(), scaled.GroupResource(), "it", metav1.GetOptions{})
		must(t, err)
		held.Spec.Replicas = 0
		held, err = scales.Scales(space).Update(t.Context(), scaled.GroupResource(), held, metav1.UpdateOptions{})
		must(t, err)
		equal(t, "replicas of "+scaled.Resource, held.Spec.Replicas, 0)
		held, err = scales.Scales(space).Patch(t.Context(), scaled, "it", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
		must(t, err)
		equal(t, "replicas of "+scaled.Resource, held.Spec.Replicas, 0)
	}
	var typedScale *autoscaling.Scale
	typedScale, err = typed(t, config()).AppsV1().Deployments(space).GetScale(t.Context(), "it", metav1.GetOptions{})
	must(t, err)
	equal(t, "selector", typedScale.Status.Selector, "app=it")
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
