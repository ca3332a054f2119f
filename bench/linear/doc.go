// Package linear finds out whether what clients see of a server is what one that does
// one thing after another could show them: histories of concurrent creates, updates,
// deletes, gets, lists and watches are judged by Porcupine. With a disk the server is
// killed, and started again, meanwhile.
package linear
