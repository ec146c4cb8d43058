package main

import (
	"context"
	"encoding/json"
	"sort"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// judgeDefinition tells what is wrong with the rules of a schema when a definition with it is created.
func judgeDefinition(schema json.RawMessage) (a answer) {
	var v1 apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(schema, &v1); err != nil {
		a.Compile = err.Error()
		return a
	}
	definition := apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "things.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com",
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "things", Singular: "thing", Kind: "Thing", ListKind: "ThingList"},
			Scope: apiextensionsv1.NamespaceScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &v1},
			}},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
		},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{StoredVersions: []string{"v1"}},
	}
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&definition, &internal, nil); err != nil {
		a.Compile = err.Error()
		return a
	}
	internal.Spec.PreserveUnknownFields = ptr.To(false)
	const prefix = "spec.validation.openAPIV3Schema"
	a.Failures = []string{}
	for _, err := range validation.ValidateCustomResourceDefinition(context.Background(), &internal) {
		if !strings.HasPrefix(err.Field, prefix) {
			continue
		}
		a.Failures = append(a.Failures, selfType.ReplaceAllString(err.Error(), "selfType"))
	}
	sort.Strings(a.Failures)
	return a
}
