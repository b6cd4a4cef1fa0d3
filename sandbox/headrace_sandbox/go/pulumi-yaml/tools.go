//go:build tools

// Package tools pins the language host for YAML programs. It lives in a module of its own because it does not compile
// against the CLI's version of the SDK.
package tools

import _ "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml"
