package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Left returns how many bytes wait in a folder that nobody has open: what the
// last run did not see written. 0 is also of a folder that is in use or that is
// no spool's.
func Left(dir string) (bytes int64, err error) {
	if _, err := os.Stat(dir + "/" + lockName); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	lock, err := lockDir(dir)
	if errors.Is(err, ErrLocked) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	first, last, err := wlog.Segments(dir)
	for i := first; err == nil && i >= 0 && i <= last; i++ {
		var info fs.FileInfo
		if info, err = os.Stat(wlog.SegmentName(dir, i)); err == nil {
			bytes += info.Size()
		}
	}
	if err != nil {
		err = fmt.Errorf("look at a spool: %w", err)
	}
	return bytes, errors.Join(err, lock.Close())
}
