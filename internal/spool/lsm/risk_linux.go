package lsm

import "syscall"

// risks of the file systems that lose what they said was synced, or may, by their numbers (statfs(2)).
var risks = map[uint32]string{
	0x01021994: "it is on tmpfs, which is in memory: all mail that waits is gone when the machine restarts; choose a folder on a disk",
	0x858458f6: "it is on ramfs, which is in memory: all mail that waits is gone when the machine restarts; choose a folder on a disk",
	0x794c7630: "it is on overlayfs, the file system of a container: all mail that waits is gone when the container is removed; " +
		"mount a volume there",
	0x00006969: "it is on NFS: a server that answers before its disk has the data loses mail with its power, and locks may not keep " +
		"a second holub out; choose a local disk",
	0xff534d42: "it is on CIFS: a server that answers before its disk has the data loses mail with its power; choose a local disk",
	0xfe534d42: "it is on SMB: a server that answers before its disk has the data loses mail with its power; choose a local disk",
	0x01021997: "it is on 9p, a folder of the host: whether a sync reaches the disk is up to the host; choose a disk of this machine",
	0x65735546: "it is on FUSE: whether a sync reaches the disk is up to the program behind it; choose a local disk",
}

// Risk says in one sentence what is dangerous about keeping a spool in the folder dir, which must be there; "" where nothing
// is known. It knows file systems by name only: a disk whose cache lies about flushes it does not see.
func Risk(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return ""
	}
	return risks[uint32(s.Type)]
}
