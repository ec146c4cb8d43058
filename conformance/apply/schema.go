package main

import (
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// node is the schema of a value: how server-side apply sees it (from client-go's own schema), and how a strategic merge patch
// sees it (from the tags of the Go types).
type node struct {
	Type   string   `json:"type"`
	Atomic bool     `json:"atomic,omitempty"`
	Fields []*field `json:"fields,omitempty"`
	Of     *node    `json:"of,omitempty"`
	List   string   `json:"list,omitempty"`
	Keys   []string `json:"keys,omitempty"`
}

type field struct {
	Name       string `json:"name"`
	Node       *node  `json:"node"`
	Merge      bool   `json:"merge,omitempty"`
	RetainKeys bool   `json:"retainKeys,omitempty"`
	MergeKey   string `json:"mergeKey,omitempty"`
	Default    any    `json:"default,omitempty"`
}

var converter = applyconfigurations.NewTypeConverter(scheme.Scheme)

func unmarshal(text []byte, into any) error { return utiljson.Unmarshal(text, into) }

// describe fills in the schema of the kind.
func (k *kind) describe() error {
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": k.apiVersion, "kind": k.name}}
	value, err := converter.ObjectToTyped(object, typed.AllowDuplicates)
	if err != nil {
		return err
	}
	reader := &reader{value.Schema()}
	k.schema, err = reader.node(value.TypeRef(), reflect.TypeOf(k.empty))
	return err
}

type reader struct{ schema *schema.Schema }

func (r *reader) node(ref schema.TypeRef, goType reflect.Type) (*node, error) {
	atom, ok := r.schema.Resolve(ref)
	if !ok {
		return nil, fmt.Errorf("no type for %v", ref)
	}
	for goType != nil && goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	kinds := 0
	for _, is := range []bool{atom.Scalar != nil, atom.List != nil, atom.Map != nil} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return &node{Type: "any"}, nil
	case atom.Scalar != nil:
		return &node{Type: scalar(*atom.Scalar, goType)}, nil
	case atom.List != nil:
		of, err := r.node(atom.List.ElementType, element(goType))
		if err != nil {
			return nil, err
		}
		list := &node{Type: "list", Of: of, List: "atomic"}
		if atom.List.ElementRelationship == schema.Associative {
			list.List, list.Keys = "set", atom.List.Keys
			if len(list.Keys) > 0 {
				list.List = "map"
			}
		}
		return list, nil
	case len(atom.Map.Fields) > 0:
		return r.structure(atom.Map, goType)
	default:
		of, err := r.node(atom.Map.ElementType, element(goType))
		if err != nil {
			return nil, err
		}
		return &node{Type: "map", Of: of, Atomic: atom.Map.ElementRelationship == schema.Atomic}, nil
	}
}

func (r *reader) structure(of *schema.Map, goType reflect.Type) (*node, error) {
	tags := map[string]reflect.StructField{}
	collect(goType, tags)
	made := &node{Type: "struct", Atomic: of.ElementRelationship == schema.Atomic}
	for _, known := range of.Fields {
		tag, ok := tags[known.Name]
		if !ok {
			return nil, fmt.Errorf("%v has no field %s", goType, known.Name)
		}
		// managedFields is the machinery's own.
		if known.Name == "managedFields" {
			continue
		}
		inner, err := r.node(known.Type, tag.Type)
		if err != nil {
			return nil, err
		}
		one := &field{Name: known.Name, Node: inner, MergeKey: tag.Tag.Get("patchMergeKey"), Default: plain(known.Default)}
		for _, strategy := range strings.Split(tag.Tag.Get("patchStrategy"), ",") {
			one.Merge = one.Merge || strategy == "merge"
			one.RetainKeys = one.RetainKeys || strategy == "retainKeys"
		}
		made.Fields = append(made.Fields, one)
	}
	return made, nil
}

// collect gathers the fields of a struct and of those that it includes, by JSON name.
func collect(goType reflect.Type, into map[string]reflect.StructField) {
	for index := range goType.NumField() {
		one := goType.Field(index)
		name, _, _ := strings.Cut(one.Tag.Get("json"), ",")
		if name == "" && one.Anonymous {
			collect(one.Type, into)
		} else if name != "" {
			into[name] = one
		}
	}
}

func element(goType reflect.Type) reflect.Type {
	if goType == nil {
		return nil
	}
	switch goType.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array:
		return goType.Elem()
	}
	return nil
}

func scalar(kind schema.Scalar, goType reflect.Type) string {
	if goType != nil {
		switch goType.Name() {
		case "Time", "MicroTime":
			return "time"
		case "IntOrString", "Quantity":
			return "intorstring"
		}
	}
	switch kind {
	case schema.Numeric:
		return "integer"
	case schema.Boolean:
		return "boolean"
	case schema.Untyped:
		return "any"
	}
	return "string"
}

// plain is a default as JSON has it; that of a structure is always empty.
func plain(value any) any {
	if _, ok := value.(map[any]any); ok {
		return map[string]any{}
	}
	return value
}
