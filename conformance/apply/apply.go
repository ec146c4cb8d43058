package main

import (
	"encoding/json"
	"errors"
	"sort"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// one has one version of each kind and no defaults, so that nothing but the field manager speaks.
type one struct{}

func (one) Convert(in, out, context any) error { return errors.New("no conversion") }

func (one) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (one) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

func (one) Default(runtime.Object) {}

func (one) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	return object, nil
}

const annotation = "kubectl.kubernetes.io/last-applied-configuration"

// story is what becomes of one object when several managers write it, each step a case of its own.
func story(v *values, k *kind) []map[string]any {
	version, err := schema.ParseGroupVersion(k.apiVersion)
	if err != nil {
		fail(err)
	}
	reset := v.chance(30)
	filters := map[fieldpath.APIVersion]fieldpath.Filter{}
	if reset {
		set := fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
		filters[fieldpath.APIVersion(k.apiVersion)] = fieldpath.NewExcludeSetFilter(set)
	}
	manager := func(subresource string) *managedfields.FieldManager {
		made, err := managedfields.NewDefaultFieldManager(
			converter, one{}, one{}, one{}, version.WithKind(k.name), version, subresource, filters)
		if err != nil {
			fail(err)
		}
		return made
	}
	var live map[string]any
	var steps []map[string]any
	// What each manager applied last, so that it can apply something like it again.
	last := map[string]map[string]any{}
	for range 3 + v.Intn(4) {
		name := []string{"a", "b", "kubectl", "c<&>"}[v.Intn(4)]
		subresource := ""
		if v.chance(15) {
			subresource = "status"
		}
		step := map[string]any{
			"case": "apply", "kind": k.name, "manager": name, "subresource": subresource, "reset": reset, "live": clone(live),
		}
		steps = append(steps, step)
		before := &unstructured.Unstructured{Object: clone(live)}
		if live == nil {
			before.Object = map[string]any{"apiVersion": k.apiVersion, "kind": k.name}
		}
		var after runtime.Object
		if v.chance(40) {
			object := v.updated(k, live)
			step["update"] = clone(object)
			after, err = manager(subresource).Update(before, &unstructured.Unstructured{Object: clone(object)}, name)
		} else {
			object := v.configuration(k, live, last[name])
			last[name] = clone(object)
			step["apply"], step["force"] = clone(object), v.chance(40)
			wanted := &unstructured.Unstructured{Object: clone(object)}
			after, err = manager(subresource).Apply(before, wanted, name, step["force"].(bool))
		}
		switch status := apierrors.APIStatus(nil); {
		case errors.As(err, &status) && apierrors.IsConflict(err):
			var causes []string
			for _, cause := range status.Status().Details.Causes {
				causes = append(causes, cause.Message+": "+cause.Field)
			}
			sort.Strings(causes)
			step["conflicts"] = causes
			continue
		case err != nil:
			step["error"] = err.Error()
			continue
		}
		result, ok := after.(*unstructured.Unstructured)
		if !ok {
			fail(errors.New("the field manager made another type"))
		}
		live = withoutNulls(clone(result.Object)).(map[string]any)
		step["expected"] = clone(live)
		metadata := live["metadata"].(map[string]any)
		metadata["uid"] = "u"
	}
	return steps
}

// updated is an object that an updater writes over another.
func (v *values) updated(k *kind, live map[string]any) map[string]any {
	if live == nil {
		object := clone(v.object(k))
		if v.chance(40) {
			text, err := json.Marshal(object)
			if err != nil {
				fail(err)
			}
			metadata := object["metadata"].(map[string]any)
			annotations, _ := metadata["annotations"].(map[string]any)
			if annotations == nil {
				annotations = map[string]any{}
				metadata["annotations"] = annotations
			}
			annotations[annotation] = string(text)
		}
		return object
	}
	object := v.vary(k.schema, clone(live), 0).(map[string]any)
	object["apiVersion"], object["kind"] = k.apiVersion, k.name
	metadata := object["metadata"].(map[string]any)
	metadata["name"] = "it"
	metadata["uid"] = "u"
	if v.chance(20) {
		v.double(k.schema, object)
	}
	switch entries, _ := metadata["managedFields"].([]any); {
	case v.chance(10):
		delete(metadata, "managedFields")
	case v.chance(3):
		metadata["managedFields"] = []any{}
	case v.chance(5) && len(entries) > 0:
		metadata["managedFields"] = entries[1:]
	}
	return object
}

// configuration is what a manager applies: something new, part of what is there, or what it applied last with changes.
func (v *values) configuration(k *kind, live, last map[string]any) map[string]any {
	var object map[string]any
	switch {
	case last != nil && v.chance(60):
		object = v.vary(k.schema, clone(last), 0).(map[string]any)
	case live != nil && v.chance(70):
		object = v.vary(k.schema, clone(live), 0).(map[string]any)
	default:
		object = clone(v.object(k))
	}
	metadata := object["metadata"].(map[string]any)
	delete(metadata, "managedFields")
	delete(metadata, "uid")
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		delete(annotations, annotation)
	}
	object["apiVersion"], object["kind"] = k.apiVersion, k.name
	metadata["name"] = "it"
	return object
}

// double puts an element of a keyed list there twice, which only updaters can.
func (v *values) double(n *node, object map[string]any) {
	for _, f := range n.Fields {
		switch inner := object[f.Name].(type) {
		case map[string]any:
			if f.Node.Type == "struct" {
				v.double(f.Node, inner)
			}
		case []any:
			if f.Node.List == "map" && len(inner) > 0 && v.chance(50) {
				copied := clone(inner[0]).(map[string]any)
				object[f.Name] = append(inner, v.vary(f.Node.Of, copied, 3))
			}
		}
	}
}

// withoutNulls drops what a Go type does not hold.
func withoutNulls(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			if inner == nil {
				delete(value, name)
			} else {
				value[name] = withoutNulls(inner)
			}
		}
	case []any:
		for index := range value {
			value[index] = withoutNulls(value[index])
		}
	}
	return value
}
