package main

import (
	"context"
	"encoding/json"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

type rule struct {
	Error          string `json:"error,omitempty"`
	MessageError   string `json:"messageError,omitempty"`
	UsesOldSelf    bool   `json:"usesOldSelf,omitempty"`
	MaxCost        uint64 `json:"maxCost"`
	MessageMaxCost uint64 `json:"messageMaxCost,omitempty"`
	MaxCardinality uint64 `json:"maxCardinality"`
}

func judgeRules(q question) (a answer) {
	var v1 apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(q.Schema, &v1); err != nil {
		a.Compile = err.Error()
		return a
	}
	if q.Rules != nil {
		if err := json.Unmarshal(q.Rules, &v1.XValidations); err != nil {
			a.Compile = err.Error()
			return a
		}
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
	results, err := schemacel.Compile(structural, model.SchemaDeclType(structural, false), celconfig.PerCallLimit, base, schemacel.NewExpressionsEnvLoader())
	if err != nil {
		a.Compile = err.Error()
		return a
	}
	for _, result := range results {
		r := rule{UsesOldSelf: result.UsesOldSelf, MaxCost: result.MaxCost, MessageMaxCost: result.MessageExpressionMaxCost, MaxCardinality: result.MaxCardinality}
		if result.Error != nil {
			r.Error = selfType.ReplaceAllString(result.Error.Detail, "selfType")
		}
		if result.MessageExpressionError != nil {
			r.MessageError = selfType.ReplaceAllString(result.MessageExpressionError.Detail, "selfType")
		}
		a.Rules = append(a.Rules, r)
	}
	if q.Self == nil {
		return a
	}
	validator := schemacel.NewValidator(structural, false, celconfig.PerCallLimit)
	budget := int64(celconfig.RuntimeCELCostBudget)
	errs, remaining := validator.Validate(context.Background(), field.NewPath("root"), structural, object(q.Self), object(q.OldSelf), budget)
	for _, err := range errs {
		a.Failures = append(a.Failures, selfType.ReplaceAllString(err.Error(), "selfType"))
	}
	spent := budget - remaining
	a.Spent = &spent
	return a
}

func object(document json.RawMessage) any {
	if document == nil {
		return nil
	}
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		return nil
	}
	return native(value)
}
