//go:build tools

// Package tools pins the Pulumi CLI: its go.mod has replace lines, so `go install package@version` is refused and a
// module of our own has to require it.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
