package clientgo

import (
	"context"
	"fmt"
	"strings"
	"testing"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// define makes a kind with status and scale in a group of its own, which goes with the test.
func define(t *testing.T, kind string) schema.GroupVersionKind {
	t.Helper()
	clients, err := clientset.NewForConfig(config())
	must(t, err)
	singular := strings.ToLower(kind)
	group := singular + ".clients.xebec.dev"
	open := true
	definition := &extensions.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: singular + "s." + group},
		Spec: extensions.CustomResourceDefinitionSpec{
			Group: group,
			Names: extensions.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Singular: singular, Plural: singular + "s"},
			Scope: extensions.NamespaceScoped,
			Versions: []extensions.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &extensions.CustomResourceValidation{OpenAPIV3Schema: &extensions.JSONSchemaProps{
					Type: "object",
					Properties: map[string]extensions.JSONSchemaProps{
						"spec": {Type: "object", Properties: map[string]extensions.JSONSchemaProps{
							"replicas": {Type: "integer", Format: "int32", Default: &extensions.JSON{Raw: []byte("1")}},
							"colour":   {Type: "string", Enum: []extensions.JSON{{Raw: []byte(`"red"`)}, {Raw: []byte(`"blue"`)}}},
						}},
						"status": {Type: "object", XPreserveUnknownFields: &open},
					},
				}},
				Subresources: &extensions.CustomResourceSubresources{
					Status: &extensions.CustomResourceSubresourceStatus{},
					Scale: &extensions.CustomResourceSubresourceScale{
						SpecReplicasPath: ".spec.replicas", StatusReplicasPath: ".status.replicas"},
				},
			}},
		},
	}
	definitions := clients.ApiextensionsV1().CustomResourceDefinitions()
	_, err = definitions.Create(t.Context(), definition, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, definitions.Delete(context.Background(), definition.Name, metav1.DeleteOptions{})) })
	eventually(t, func() string {
		held, err := definitions.Get(t.Context(), definition.Name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		for _, condition := range held.Status.Conditions {
			if condition.Type == extensions.Established && condition.Status == extensions.ConditionTrue {
				return ""
			}
		}
		return fmt.Sprintf("%s is not established: %v", definition.Name, held.Status.Conditions)
	})
	return schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}
}

// plural is the resource of a kind which `define` made.
func plural(kind schema.GroupVersionKind) schema.GroupVersionResource {
	return kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
}
