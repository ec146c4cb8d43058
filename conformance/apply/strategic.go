package main

import (
	"encoding/json"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// strategicCase is one strategic merge patch with its result, or nil where upstream itself gives now one and now another.
func strategicCase(v *values, k *kind) map[string]any {
	current := clone(v.object(k))
	var patch map[string]any
	if v.chance(50) {
		patch = madePatch(v, k, current)
	} else {
		patch = clone(v.object(k))
		if v.chance(80) {
			// Mostly about the elements that are there.
			patch = v.vary(k.schema, clone(current), 0).(map[string]any)
		}
		v.direct(k.schema, patch, current)
	}
	var result strategicpatch.JSONMap
	var failure string
	for round := range 6 {
		merged, err := strategicpatch.StrategicMergeMapPatch(clone(current), clone(patch), k.empty)
		text := ""
		if err != nil {
			merged, text = nil, "refused"
		}
		if round > 0 && (!reflect.DeepEqual(merged, result) || text != failure) {
			return nil
		}
		result, failure = merged, text
	}
	line := map[string]any{"case": "strategic", "kind": k.name, "current": current, "patch": patch}
	if failure != "" {
		line["error"] = failure
	} else {
		line["expected"] = result
	}
	return line
}

// madePatch is what a client makes of two objects, to be applied to a third.
func madePatch(v *values, k *kind, current map[string]any) map[string]any {
	modified := v.vary(k.schema, clone(current), 0)
	original := v.vary(k.schema, clone(current), 0)
	var texts [3][]byte
	for index, object := range []any{original, modified, current} {
		text, err := json.Marshal(object)
		if err != nil {
			fail(err)
		}
		texts[index] = text
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(k.empty)
	if err != nil {
		fail(err)
	}
	made, err := strategicpatch.CreateThreeWayMergePatch(texts[0], texts[1], texts[2], meta, true)
	if err != nil {
		return map[string]any{}
	}
	var patch map[string]any
	if err := unmarshal(made, &patch); err != nil {
		fail(err)
	}
	return patch
}

// direct puts nulls and directives into a patch.
func (v *values) direct(n *node, patch, current map[string]any) {
	if v.chance(3) {
		patch["$patch"] = []string{"replace", "delete"}[v.Intn(2)]
	}
	var set []any
	for _, f := range n.Fields {
		value, there := patch[f.Name]
		if there && v.chance(10) && f.Name != "metadata" && !isKey(f.Name) {
			patch[f.Name] = nil
			continue
		}
		if there {
			set = append(set, f.Name)
		}
		old, _ := current[f.Name].(map[string]any)
		switch inner := value.(type) {
		case map[string]any:
			if f.Node.Type == "struct" {
				v.direct(f.Node, inner, old)
			} else if v.chance(10) {
				inner[v.word()] = nil
			}
		case []any:
			items, _ := current[f.Name].([]any)
			v.directList(f, patch, inner, items)
		}
	}
	if v.chance(5) && n.Type == "struct" {
		if v.chance(10) && len(set) > 0 {
			set = set[1:]
		}
		patch["$retainKeys"] = set
	}
}

func (v *values) directList(f *field, patch map[string]any, items, current []any) {
	if !f.Merge {
		return
	}
	if f.MergeKey == "" {
		if v.chance(20) && len(current) > 0 {
			gone := current[v.Intn(len(current))]
			// What is both added and deleted is there or not as upstream's maps will have it.
			if !slices.Contains(items, gone) {
				patch["$deleteFromPrimitiveList/"+f.Name] = []any{gone}
			}
		} else if v.chance(30) && len(items)+len(current) > 0 {
			// Of two empty lists upstream says that it cannot tell what the elements are; we let them be.
			patch["$setElementOrder/"+f.Name] = v.merged(f.Node, items, current)
		}
		return
	}
	key := func(item any) any {
		object, _ := item.(map[string]any)
		return map[string]any{f.MergeKey: object[f.MergeKey]}
	}
	for _, item := range items {
		object, ok := item.(map[string]any)
		if !ok || object[f.MergeKey] == nil {
			continue
		}
		var old map[string]any
		for _, other := range current {
			if reflect.DeepEqual(key(item), key(other)) {
				old, _ = other.(map[string]any)
			}
		}
		v.direct(f.Node.Of, object, old)
	}
	if v.chance(30) && len(items)+len(current) > 0 {
		var order []any
		for _, item := range append(append([]any{}, items...), current...) {
			if v.chance(85) {
				order = append(order, key(item))
			}
		}
		if len(order) > 0 {
			patch["$setElementOrder/"+f.Name] = order
		}
	}
	if v.chance(10) && len(current) > 0 {
		gone := key(current[v.Intn(len(current))]).(map[string]any)
		gone["$patch"] = "delete"
		patch[f.Name] = append(items, gone)
	} else if v.chance(3) {
		patch[f.Name] = append(items, map[string]any{"$patch": "replace"})
	}
}
