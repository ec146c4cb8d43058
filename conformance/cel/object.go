package main

import (
	"context"
	"encoding/json"
	"sort"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"
)

// change is an object that is created with a schema or takes the place of another.
type change struct {
	Schema json.RawMessage `json:"schema"`
	Object json.RawMessage `json:"object"`
	Old    json.RawMessage `json:"old"`
	// Status is set where status is a subresource, Scale where scale is one.
	Status bool                                          `json:"status"`
	Scale  *apiextensions.CustomResourceSubresourceScale `json:"scale"`
	// Subresource is "status" where only that is written.
	Subresource string `json:"subresource"`
}

type recorder struct{ warnings []string }

func (r *recorder) AddWarning(_, text string) { r.warnings = append(r.warnings, text) }

// judgeChange tells what is wrong with an object, as the registry of custom resources does.
func judgeChange(c change) (a answer) {
	var v1 apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(c.Schema, &v1); err != nil {
		a.Compile = err.Error()
		return a
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &props, nil); err != nil {
		a.Compile = err.Error()
		return a
	}
	structural, err := schema.NewStructural(&props)
	if err != nil {
		a.Compile = err.Error()
		return a
	}
	if errs := schema.ValidateStructural(nil, structural); len(errs) > 0 {
		a.Compile = errs.ToAggregate().Error()
		return a
	}
	validator, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		a.Compile = err.Error()
		return a
	}
	var status *apiextensions.CustomResourceSubresourceStatus
	var statusValidator validation.SchemaValidator
	if c.Status {
		status = &apiextensions.CustomResourceSubresourceStatus{}
		if below, ok := props.Properties["status"]; ok {
			if statusValidator, _, err = validation.NewSchemaValidator(&below); err != nil {
				a.Compile = err.Error()
				return a
			}
		}
	}
	kind := runtimeschema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Thing"}
	strategy := customresource.NewStrategy(nil, true, kind, validator, statusValidator, structural, status, c.Scale, nil)
	heard := &recorder{}
	ctx := warning.WithWarningRecorder(context.Background(), heard)
	object, old := whole(c.Object), whole(c.Old)
	var errs field.ErrorList
	switch {
	case c.Old == nil:
		errs = strategy.Validate(ctx, object)
	case c.Subresource == "status":
		errs = customresource.NewStatusStrategy(strategy).ValidateUpdate(ctx, object, old)
	default:
		errs = strategy.ValidateUpdate(ctx, object, old)
	}
	for _, err := range errs {
		a.Failures = append(a.Failures, settled(err.Error()))
	}
	for _, text := range heard.warnings {
		a.Warnings = append(a.Warnings, settled(text))
	}
	sort.Strings(a.Failures)
	sort.Strings(a.Warnings)
	return a
}

func settled(text string) string { return selfType.ReplaceAllString(text, "selfType") }

// whole completes an object by what every object has.
func whole(document json.RawMessage) *unstructured.Unstructured {
	content := map[string]any{}
	if document != nil {
		if err := utiljson.Unmarshal(document, &content); err != nil {
			panic(err)
		}
	}
	fill := func(of map[string]any, key string, value any) map[string]any {
		if _, ok := of[key]; !ok {
			of[key] = value
		}
		below, _ := of[key].(map[string]any)
		return below
	}
	fill(content, "apiVersion", "example.com/v1")
	fill(content, "kind", "Thing")
	metadata := fill(content, "metadata", map[string]any{})
	fill(metadata, "name", "a")
	fill(metadata, "namespace", "default")
	fill(metadata, "resourceVersion", "1")
	return &unstructured.Unstructured{Object: content}
}
