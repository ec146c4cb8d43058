package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// render writes a value so that its type shows and the order of a map does not.
func render(value ref.Val) string {
	switch v := value.(type) {
	case types.Null:
		return "null"
	case types.Bool:
		return strconv.FormatBool(bool(v))
	case types.Int:
		return strconv.FormatInt(int64(v), 10)
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10) + "u"
	case types.Double:
		switch f := float64(v); {
		case math.IsNaN(f):
			return "NaN"
		case math.IsInf(f, 0):
			return strconv.FormatFloat(f, 'g', -1, 64)
		default:
			text := strconv.FormatFloat(f, 'f', -1, 64)
			if !strings.Contains(text, ".") {
				text += ".0"
			}
			return text
		}
	case types.String:
		return quote(string(v))
	case types.Bytes:
		return "bytes(" + base64.StdEncoding.EncodeToString([]byte(v)) + ")"
	case types.Timestamp:
		return "timestamp(" + v.Time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00") + ")"
	case types.Duration:
		return fmt.Sprintf("duration(%dns)", int64(v.Duration))
	case *types.Optional:
		if !v.HasValue() {
			return "optional.none"
		}
		return "optional(" + render(v.GetValue()) + ")"
	case apiservercel.URL:
		return "url(" + quote(v.URL.String()) + ")"
	case apiservercel.IP:
		return "ip(" + v.Addr.String() + ")"
	case apiservercel.CIDR:
		return "cidr(" + v.Prefix.String() + ")"
	case apiservercel.Quantity:
		return "quantity(" + v.Quantity.String() + ")"
	case *apiservercel.Quantity:
		return "quantity(" + v.Quantity.String() + ")"
	case apiservercel.Semver:
		return "semver(" + v.Version.String() + ")"
	case apiservercel.Format:
		return "format(" + v.Name + ")"
	case ref.Type:
		return "type(" + v.TypeName() + ")"
	case traits.Mapper:
		var entries []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			entries = append(entries, render(key)+": "+render(v.Get(key)))
		}
		sort.Strings(entries)
		return list("{", entries, "}")
	case traits.Lister:
		var items []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			items = append(items, render(it.Next()))
		}
		return list("[", items, "]")
	}
	return fmt.Sprintf("%T", value)
}

type (
	celBool   = types.Bool
	celInt    = types.Int
	celUint   = types.Uint
	celDouble = types.Double
	celBytes  = types.Bytes
)

func list(open string, parts []string, end string) string {
	return open + strings.Join(parts, ", ") + end
}

func quote(text string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(out.String(), "\n")
}
