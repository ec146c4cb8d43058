package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"cel.dev/expr"
	_ "cel.dev/expr/conformance/proto2"
	_ "cel.dev/expr/conformance/proto3"
	conformance "cel.dev/expr/conformance/test"
	"google.golang.org/protobuf/encoding/prototext"
)

// case of the language's own suite, with what Kubernetes' environment makes of it.
type specCase struct {
	Name  string         `json:"name"`
	Expr  string         `json:"expr"`
	Vars  map[string]any `json:"vars,omitempty"`
	Value string         `json:"want,omitempty"`
	Error bool           `json:"wantError,omitempty"`
}

// writeSpec writes the cases of the suite in folder that Kubernetes' own environment passes, and tells how many there
// are: what needs protocol buffers, a container or a library that Kubernetes does not switch on is not among them.
func writeSpec(folder string, out io.Writer) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.textproto"))
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	total, kept := 0, 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var file conformance.SimpleTestFile
		if err := prototext.Unmarshal(text, &file); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, section := range file.Section {
			for _, test := range section.Test {
				total++
				c, ok := specQuestion(test)
				if !ok {
					continue
				}
				c.Name = file.Name + "/" + section.Name + "/" + test.Name
				kept++
				if err := encoder.Encode(c); err != nil {
					return err
				}
			}
		}
	}
	fmt.Fprintf(os.Stderr, "spec: Kubernetes passes %d of the language's %d cases\n", kept, total)
	return nil
}

func specQuestion(test *conformance.SimpleTest) (c specCase, ok bool) {
	if test.DisableCheck || test.CheckOnly || test.DisableMacros || test.Container != "" {
		return c, false
	}
	c.Expr = test.Expr
	for name, binding := range test.Bindings {
		value, ok := plain(binding.GetValue())
		if !ok {
			return c, false
		}
		if c.Vars == nil {
			c.Vars = map[string]any{}
		}
		c.Vars[name] = value
	}
	want := test.GetValue()
	if typed := test.GetTypedResult(); typed != nil {
		want = typed.Result
	}
	a := judgeSafely(question{Expr: c.Expr, Vars: copied(c.Vars)})
	failed := a.Compile != "" || a.Program != "" || a.Error != ""
	if test.GetEvalError() != nil || test.GetAnyEvalErrors() != nil {
		c.Error = true
		return c, failed
	}
	if want == nil {
		want = &expr.Value{Kind: &expr.Value_BoolValue{BoolValue: true}}
	}
	value, ok := rendered(want)
	c.Value = value
	return c, ok && !failed && a.Value == value
}

// judgeSafely tells where the reference implementation itself panics.
func judgeSafely(q question) (a answer) {
	defer func() {
		if recover() != nil {
			a.Compile = "panic"
		}
	}()
	return judgeExpression(q)
}

func copied(vars map[string]any) map[string]any {
	text, err := json.Marshal(vars)
	if err != nil {
		return nil
	}
	var again map[string]any
	if json.Unmarshal(text, &again) != nil {
		return nil
	}
	return again
}

// plain gives a value as JSON, if JSON has such values.
func plain(value *expr.Value) (any, bool) {
	switch v := value.GetKind().(type) {
	case *expr.Value_NullValue:
		return nil, true
	case *expr.Value_BoolValue:
		return v.BoolValue, true
	case *expr.Value_Int64Value:
		return v.Int64Value, true
	case *expr.Value_StringValue:
		return v.StringValue, true
	case *expr.Value_ListValue:
		items := []any{}
		for _, item := range v.ListValue.Values {
			value, ok := plain(item)
			if !ok {
				return nil, false
			}
			items = append(items, value)
		}
		return items, true
	case *expr.Value_MapValue:
		entries := map[string]any{}
		for _, entry := range v.MapValue.Entries {
			key, isText := entry.Key.GetKind().(*expr.Value_StringValue)
			value, ok := plain(entry.Value)
			if !ok || !isText {
				return nil, false
			}
			entries[key.StringValue] = value
		}
		return entries, true
	}
	return nil, false
}

// rendered writes a value as render does.
func rendered(value *expr.Value) (string, bool) {
	switch v := value.GetKind().(type) {
	case *expr.Value_NullValue:
		return "null", true
	case *expr.Value_BoolValue:
		return render(celBool(v.BoolValue)), true
	case *expr.Value_Int64Value:
		return render(celInt(v.Int64Value)), true
	case *expr.Value_Uint64Value:
		return render(celUint(v.Uint64Value)), true
	case *expr.Value_DoubleValue:
		return render(celDouble(v.DoubleValue)), true
	case *expr.Value_StringValue:
		return quote(v.StringValue), true
	case *expr.Value_BytesValue:
		return render(celBytes(v.BytesValue)), true
	case *expr.Value_TypeValue:
		return "type(" + v.TypeValue + ")", true
	case *expr.Value_ListValue:
		var items []string
		for _, item := range v.ListValue.Values {
			text, ok := rendered(item)
			if !ok {
				return "", false
			}
			items = append(items, text)
		}
		return list("[", items, "]"), true
	case *expr.Value_MapValue:
		var entries []string
		for _, entry := range v.MapValue.Entries {
			key, ok := rendered(entry.Key)
			value, also := rendered(entry.Value)
			if !ok || !also {
				return "", false
			}
			entries = append(entries, key+": "+value)
		}
		sort.Strings(entries)
		return list("{", entries, "}"), true
	}
	return "", false
}
