//go:build !unix

package peers

import "errors"

// lockFile is never reached here: there are no Debian packages to unpack.
func lockFile(string) (unlock func(), err error) { return nil, errors.ErrUnsupported }
