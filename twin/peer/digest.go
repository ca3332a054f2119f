package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// Digest tells one build of a program from another, so that what is kept of one is not
// taken for what another does.
func Digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}
