package peer

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Affinity gives the numbers of the processors that this process may use, in ascending order, up to 1,024 of them.
func Affinity() ([]int, error) {
	var mask [16]uint64
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return nil, fmt.Errorf("learn which processors this process may use: %w", errno)
	}
	var allowed []int
	for i := range 64 * len(mask) {
		if mask[i/64]&(1<<(i%64)) != 0 {
			allowed = append(allowed, i)
		}
	}
	return allowed, nil
}

// processors lists the first n that this process may use, as taskset takes them; "" for 0.
func processors(n int) (string, error) {
	if n == 0 {
		return "", nil
	}
	allowed, err := Affinity()
	if err != nil {
		return "", err
	}
	if n > len(allowed) {
		return "", fmt.Errorf("%d cores are asked for and this process may use %d", n, len(allowed))
	}
	var words []string
	for _, p := range allowed[:n] {
		words = append(words, strconv.Itoa(p))
	}
	return strings.Join(words, ","), nil
}
