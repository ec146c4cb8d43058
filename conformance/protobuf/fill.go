package main

import (
	"fmt"
	"reflect"
	"time"

	core "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// filler sets every field to something that says which field it was, the same at every run.
type filler struct {
	count  int
	schema int
	// sparse leaves the bulk of pods out of the objects that hold their templates.
	sparse bool
}

func (f *filler) next() int {
	f.count++
	return f.count
}

// special sets the values of types with a form of their own.
func (f *filler) special(value reflect.Value) bool {
	n := f.next()
	switch at := value.Addr().Interface().(type) {
	case *meta.TypeMeta:
	case *resource.Quantity:
		*at = resource.MustParse([]string{"100m", "1.5Gi", "2", "0.5"}[n%4])
	case *intstr.IntOrString:
		*at = []intstr.IntOrString{intstr.FromInt32(int32(n)), intstr.FromString(fmt.Sprintf("%d%%", n))}[n%2]
	case *meta.Time:
		*at = meta.Unix(1_700_000_000+int64(n), 0)
	case *meta.MicroTime:
		*at = meta.NewMicroTime(time.Unix(1_700_000_000+int64(n), 123_456_000))
	case *meta.FieldsV1:
		at.SetRawBytes([]byte(`{"f:spec":{".":{},"k:{\"name\":\"a\"}":{}}}`))
	case *runtime.RawExtension:
		at.Raw = []byte(fmt.Sprintf(`{"n":%d,"list":[1,2.5,null,"x"]}`, n))
	case *apiextensions.JSON:
		at.Raw = []byte(fmt.Sprintf(`{"n":%d}`, n))
	case *apiextensions.JSONSchemaPropsOrBool:
		at.Allows = true
		if f.schema < 2 {
			at.Schema = &apiextensions.JSONSchemaProps{}
			f.fill(reflect.ValueOf(at.Schema).Elem(), 0)
		}
	case *apiextensions.JSONSchemaPropsOrArray:
		if n%2 == 0 {
			at.JSONSchemas = []apiextensions.JSONSchemaProps{{Type: "integer"}, {Type: "string"}}
		} else {
			at.Schema = &apiextensions.JSONSchemaProps{Type: "object"}
		}
	case *apiextensions.JSONSchemaPropsOrStringArray:
		at.Property = []string{"a", "b"}
	case *core.PodSpec:
		if !f.sparse {
			return false
		}
		at.Containers = []core.Container{{Name: "web", Image: "example/web"}}
	default:
		return false
	}
	return true
}

func (f *filler) fill(value reflect.Value, depth int) {
	if value.CanAddr() && f.special(value) {
		return
	}
	n := f.next()
	switch value.Kind() {
	case reflect.String:
		value.SetString(fmt.Sprintf("s%d", n))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int32, reflect.Int64:
		value.SetInt(int64(n) * []int64{1, -1}[n%2])
	case reflect.Float64:
		value.SetFloat(float64(n) / 2)
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		f.fill(value.Elem(), depth+1)
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			value.SetBytes([]byte{0, byte(n), 255})
			return
		}
		value.Set(reflect.MakeSlice(value.Type(), 2-min(depth/6, 1), 2))
		for i := range value.Len() {
			f.fill(value.Index(i), depth+1)
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range 2 {
			key, entry := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
			f.fill(key, depth+1)
			f.fill(entry, depth+1)
			value.SetMapIndex(key, entry)
		}
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[apiextensions.JSONSchemaProps]() {
			if f.schema == 2 {
				value.FieldByName("Type").SetString("object")
				return
			}
			f.schema++
			defer func() { f.schema-- }()
		}
		for i := range value.NumField() {
			if value.Field(i).CanSet() {
				f.fill(value.Field(i), depth+1)
			}
		}
	default:
		panic("no filling for " + value.Type().String())
	}
}
