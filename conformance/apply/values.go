package main

import (
	"fmt"
	"math/rand"
)

// values makes random objects.
type values struct{ *rand.Rand }

func (v *values) chance(percent int) bool { return v.Intn(100) < percent }

func (v *values) word() string { return string(rune('a' + v.Intn(4))) }

// often are the fields that most objects have, so that cases meet each other.
var often = map[string]bool{
	"metadata": true, "spec": true, "template": true, "containers": true, "labels": true, "annotations": true,
	"ports": true, "env": true, "strategy": true, "finalizers": true, "tolerations": true, "volumes": true,
	"replicas": true, "image": true, "selector": true, "status": true, "conditions": true, "resources": true,
	"ownerReferences": true, "topologySpreadConstraints": true, "args": true, "hostAliases": true,
}

// stripped are the fields that the API server owns.
var stripped = map[string]bool{
	"apiVersion": true, "kind": true, "name": true, "namespace": true, "uid": true, "resourceVersion": true,
	"generation": true, "creationTimestamp": true, "selfLink": true, "deletionTimestamp": true,
}

// object makes an object of a kind.
func (v *values) object(k *kind) map[string]any {
	object := v.structure(k.schema, 0)
	object["apiVersion"], object["kind"] = k.apiVersion, k.name
	metadata, _ := object["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		object["metadata"] = metadata
	}
	for name := range stripped {
		delete(metadata, name)
	}
	metadata["name"] = "it"
	return object
}

func (v *values) value(n *node, depth int) any {
	switch n.Type {
	case "struct":
		return v.structure(n, depth)
	case "map":
		made := map[string]any{}
		for range v.Intn(3) {
			made[v.word()] = v.value(n.Of, depth+1)
		}
		return made
	case "list":
		return v.list(n, depth)
	case "integer":
		return int64(v.Intn(3))
	case "boolean":
		return v.chance(50)
	case "intorstring":
		return fmt.Sprint(v.Intn(3))
	case "time":
		return fmt.Sprintf("2026-01-0%dT00:00:00Z", 1+v.Intn(3))
	default:
		return v.word()
	}
}

func (v *values) structure(n *node, depth int) map[string]any {
	made := map[string]any{}
	for _, f := range n.Fields {
		percent := 24 / (depth + 1)
		if often[f.Name] {
			percent = 70
		}
		if v.chance(percent) {
			made[f.Name] = v.value(f.Node, depth+1)
		}
	}
	return made
}

func (v *values) list(n *node, depth int) []any {
	made := []any{}
	seen := map[string]bool{}
	for range v.Intn(4) {
		item := v.value(n.Of, depth+1)
		id := fmt.Sprint(item)
		if object, ok := item.(map[string]any); ok && n.List == "map" {
			id = ""
			for index, key := range n.Keys {
				// A key with a default is left out now and then.
				if _, ok := object[key]; !ok && (index == 0 || v.chance(60)) {
					object[key] = v.value(keyNode(n.Of, key), depth+2)
				}
				id += fmt.Sprint(object[key], "/")
			}
		}
		if n.List != "atomic" && seen[id] {
			continue
		}
		seen[id] = true
		made = append(made, item)
	}
	return made
}

func keyNode(n *node, name string) *node {
	for _, f := range n.Fields {
		if f.Name == name {
			return f.Node
		}
	}
	return &node{Type: "string"}
}

// vary changes an object here and there: values, elements and fields come, go and change.
func (v *values) vary(n *node, value any, depth int) any {
	switch n.Type {
	case "struct":
		object, ok := value.(map[string]any)
		if !ok {
			return v.value(n, depth)
		}
		for _, f := range n.Fields {
			if depth < 2 && stripped[f.Name] {
				continue
			}
			old, there := object[f.Name]
			switch {
			case !there && v.chance(6/(depth+1)):
				object[f.Name] = v.value(f.Node, depth+1)
			case there && v.chance(12) && f.Name != "metadata" && !isKey(f.Name):
				delete(object, f.Name)
			case there:
				object[f.Name] = v.vary(f.Node, old, depth+1)
			}
		}
		return object
	case "list":
		items, ok := value.([]any)
		if !ok {
			return v.value(n, depth)
		}
		switch {
		case v.chance(20):
			v.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		case v.chance(20) && len(items) > 0:
			items = items[1:]
		case v.chance(20):
			return v.merged(n, items, v.list(n, depth))
		}
		if n.Of.Type == "struct" {
			for index := range items {
				if v.chance(50) {
					items[index] = v.vary(n.Of, items[index], depth+1)
				}
			}
		}
		return v.merged(n, nil, items)
	case "map":
		object, ok := value.(map[string]any)
		if !ok || v.chance(20) {
			return v.value(n, depth)
		}
		if v.chance(30) {
			object[v.word()] = v.value(n.Of, depth+1)
		}
		return object
	}
	if v.chance(20) {
		return v.value(n, depth)
	}
	return value
}

// merged appends the elements of a list that are not in another, as their keys tell.
func (v *values) merged(n *node, base, more []any) []any {
	made := append([]any{}, base...)
	seen := map[string]bool{}
	id := func(item any) string {
		object, ok := item.(map[string]any)
		if !ok || n.List != "map" {
			return fmt.Sprint(item)
		}
		text := ""
		for _, key := range n.Keys {
			value, ok := object[key]
			if !ok && key == "protocol" {
				value = "TCP"
			}
			text += fmt.Sprint(value, "/")
		}
		return text
	}
	for _, item := range base {
		seen[id(item)] = true
	}
	for _, item := range more {
		if n.List != "atomic" && seen[id(item)] {
			continue
		}
		seen[id(item)] = true
		made = append(made, item)
	}
	return made
}

func isKey(name string) bool {
	switch name {
	case "name", "containerPort", "port", "type", "uid", "ip", "key", "topologyKey", "whenUnsatisfiable", "mountPath",
		"devicePath", "protocol", "resourceName", "resourceClaimName", "restartCount":
		return true
	}
	return false
}
