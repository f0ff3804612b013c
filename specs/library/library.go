// Package library holds ready operators, one folder each. They are run by tests, shipped with the program, and meant
// to be read and copied: the cookbook. An operator belongs here if it needs nothing but the language.
package library

import "embed"

// FS has every operator as a top-level folder.
//
//go:embed all:cookbook all:vvp
var FS embed.FS
