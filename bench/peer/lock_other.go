//go:build !unix

package peer

import "errors"

// lockFile fails: nothing can be installed on a system like this.
func lockFile(string) (unlock func(), err error) { return nil, errors.ErrUnsupported }
