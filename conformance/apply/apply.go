package main

func applyCase(v *values, k *kind) map[string]any { return map[string]any{} }
