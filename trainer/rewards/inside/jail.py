"""The walls, out of Linux namespaces: what bubblewrap does, for a box that has none, and for root.

Three processes. The outermost makes the namespaces and waits. Its child is process 1 of the new process namespace and
builds the file system; when it ends, for whatever reason, the kernel kills all that lives in the namespace. The
grandchild gives up every right and runs the code.

Root becomes `nobody` before the code runs, for the kernel does not count root's processes. The code gets a user
namespace of its own: since Linux 5.14 its processes are counted apart from all others, and it can neither trace nor
unmount what the outer ones made.
"""

# pathlib takes longer to import than all that is done here.
# ruff: noqa: PTH102, PTH103, PTH112, PTH120
import ctypes
import os

NOBODY = 65534
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
CLONE_NEWUSER = 0x10000000
# Mounts, cgroup, host name, System V IPC, processes, network.
CLONE_WALLS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
MNT_DETACH = 2
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 442, -100, 0x8000, 0x1, 0x2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
CAPABILITY_VERSION_3 = 0x20080522
SIGKILL = 9  # the module signal takes long to import

libc = ctypes.CDLL(None, use_errno=True)


def enter(parent: int, binds: list[tuple[str, str]], folder_mib: int) -> None:
    """Returns inside the walls, in the process that is to run the code. The processes around it never return."""
    was_root = os.geteuid() == 0
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    write(proc, "self/oom_score_adj", "1000")  # where the box runs out of memory, this goes first
    if was_root:
        call("unshare", CLONE_WALLS)
    else:
        new_user_namespace(proc, CLONE_WALLS, inside=0)
    call("prctl", PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above
    alive, held = os.pipe()
    if child := os.fork():
        os.close(alive)
        leave_like(child)
    os.close(held)
    call("prctl", PR_SET_PDEATHSIG, SIGKILL)
    if is_closed(alive):
        os._exit(1)
    build_files(binds, folder_mib)
    if child := os.fork():
        leave_like(child)
    give_up_rights(proc, was_root)


def build_files(binds: list[tuple[str, str]], folder_mib: int) -> None:
    """A new root with the `binds` (source, place), read-only, and one empty writable folder /box; the old root goes."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    os.chdir("/tmp")
    os.mkdir("old")
    os.mkdir("new")
    call("pivot_root", b".", b"old")
    os.chdir("/")
    mount("tmpfs", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for source, place in binds:
        make_place(f"/new{place}", os.path.isdir(f"/old{source}"))
        mount(f"/old{source}", f"/new{place}", None, MS_BIND | MS_REC)
    os.mkdir("/new/box")
    make_read_only("/new")
    mount("tmpfs", "/new/box", "tmpfs", MS_NOSUID | MS_NODEV, f"size={folder_mib}m,nr_inodes=4096,mode=777")
    call("umount2", b"/old", MNT_DETACH)


def give_up_rights(proc: int, was_root: bool) -> None:
    """No root, no capability, and none to be had: neither from a program's file nor from another user namespace."""
    if was_root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        call("prctl", PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map belongs to root
    new_user_namespace(proc, 0, inside=NOBODY)
    os.close(proc)
    # Below the root of the mounts: the kernel lets nobody who is so make a user namespace.
    os.chroot("/new")
    os.chdir("/box")
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability)  # fails for those that this kernel does not know
    call("capset", (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def new_user_namespace(proc: int, others: int, inside: int) -> None:
    """Enter a new user namespace, and the `others`, where the own user and group are both called `inside`."""
    user, group = os.geteuid(), os.getegid()
    call("unshare", CLONE_NEWUSER | others)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {user} 1"),
        ("gid_map", f"{inside} {group} 1"),
    ):
        write(proc, f"self/{name}", text)


def write(folder: int, path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY, dir_fd=folder)
    os.write(file, text.encode())
    os.close(file)


def make_place(place: str, is_folder: bool) -> None:
    """An empty folder or file, to mount on."""
    os.makedirs(place if is_folder else os.path.dirname(place), exist_ok=True)
    if not is_folder:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY))


def make_read_only(top: str) -> None:
    """The mount `top` and all mounts below it."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call("syscall", ctypes.c_long(SYS_MOUNT_SETATTR), AT_FDCWD, top.encode(), AT_RECURSIVE, attributes, size)


def mount(source: str | None, place: str, kind: str | None, flags: int, data: str | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else value.encode()

    call("mount", text(source), text(place), text(kind), ctypes.c_ulong(flags), text(data))


def call(name: str, *arguments: object) -> None:
    """A call of the C library. Raises OSError naming it."""
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def is_closed(pipe: int) -> bool:
    """Whether nobody can write to `pipe` any more. Closes our end of it."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False
    finally:
        os.close(pipe)


def leave_like(child: int) -> None:
    """Wait for `child`, and for orphans on the way, and exit with its code, or with 128 and the signal."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
