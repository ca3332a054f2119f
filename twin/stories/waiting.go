package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// says wants an answer to be good, and to have a text somewhere.
func says(text string) func(story.Answer) bool {
	return func(a story.Answer) bool { return story.Found(a) && strings.Contains(string(a.Body), text) }
}

// silent wants an answer not to have a text anywhere.
func silent(text string) func(story.Answer) bool {
	return func(a story.Answer) bool { return !strings.Contains(string(a.Body), text) }
}
