// Package house holds the tests that keep the repository in order: who may
// import whom, what may not be imported at all, package comments, versions in
// go.mod and the like. Nothing imports it, and it must not know what the code
// does.
package house
