/* A libnvidia-ml.so.1 for tests. What it pretends is read from the environment at every call:
 *   FAKE_NVML_INIT      the return code of nvmlInitWithFlags (default 0)
 *   FAKE_NVML_DEVICES   the kind of each device, separated by commas:
 *     ok        answers everything, with three processes
 *     old       has only the first versions of the calls (memory, temperature, clock reasons, processes)
 *     bare      a name, a uuid and memory; every other field is not supported
 *     unified   as GB10: no memory of its own
 *     denied    memory and processes are not permitted
 *     broken    has a handle, and then an unknown error for everything else
 *     lost      has a handle, and then GPU_IS_LOST for everything
 *     nohandle  GPU_IS_LOST already for its handle
 *     mig       sliced, with slices at places 0 and 2 of 3
 *     gone      UNINITIALIZED for everything, as after a reload of the driver
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef NO_SYMBOLS

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7,
       NO_FUNCTION = 13, LOST = 15, UNKNOWN = 999 };

#define MIB (1024ull * 1024ull)

typedef struct { int index, slice, spoiled; } device; /* slice -1: the whole GPU */
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned version, sensor; int celsius; } temperature_v1;

static device whole[8], slices[8][3];

static void kind_of(int index, char *out, size_t size) {
    const char *list = getenv("FAKE_NVML_DEVICES");
    if (!list) list = "";
    for (; index > 0; index--) {
        list = strchr(list, ',');
        if (!list) { out[0] = 0; return; }
        list++;
    }
    size_t length = strcspn(list, ",");
    if (length >= size) length = size - 1;
    memcpy(out, list, length);
    out[length] = 0;
}

static int is(const device *d, const char *kind) {
    char own[32];
    kind_of(d->index, own, sizeof own);
    return strcmp(own, kind) == 0;
}

/* What a field returns before it would answer: shared by all of them. */
static int trouble(device *d) {
    /* The handle of a lost GPU stays dead when the GPU comes back: a new one must be asked for. */
    if (is(d, "lost") || is(d, "nohandle")) d->spoiled = 1;
    if (d->spoiled) return LOST;
    if (is(d, "gone")) return UNINITIALIZED;
    if (is(d, "broken")) return UNKNOWN;
    return OK;
}

/* The fields that a bare device and a MIG slice do not have. */
static int extra(device *d) {
    int code = trouble(d);
    return code ? code : is(d, "bare") || d->slice >= 0 ? NOT_SUPPORTED : OK;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *code = getenv("FAKE_NVML_INIT");
    return code ? atoi(code) : OK;
}

int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code) { (void)code; return "fake error"; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "999.01"); return OK; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    const char *list = getenv("FAKE_NVML_DEVICES");
    *count = list && *list ? 1 : 0;
    for (; list && *list; list++) *count += *list == ',';
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    whole[index].index = (int)index;
    whole[index].slice = -1;
    whole[index].spoiled = 0;
    if (is(&whole[index], "nohandle")) return LOST;
    *out = &whole[index];
    return OK;
}

int nvmlDeviceGetName(device *d, char *out, unsigned size) {
    if (trouble(d)) return trouble(d);
    if (is(d, "unified")) snprintf(out, size, "NVIDIA Small Box");
    else if (d->slice >= 0) snprintf(out, size, "NVIDIA Fake MIG 1g.10gb");
    else snprintf(out, size, "NVIDIA \033[31mFake");
    return OK;
}

int nvmlDeviceGetUUID(device *d, char *out, unsigned size) {
    if (trouble(d)) return trouble(d);
    if (d->slice >= 0) snprintf(out, size, "MIG-%d-%d", d->index, d->slice);
    else snprintf(out, size, "GPU-%d", d->index);
    return OK;
}

/* 20480 MiB: 1024 used, 512 reserved, the rest free; a slice has 10240 MiB. */
int nvmlDeviceGetMemoryInfo_v2(device *d, memory_v2 *m) {
    if (trouble(d)) return trouble(d);
    if (is(d, "old")) return NO_FUNCTION;
    if (is(d, "unified")) return NOT_SUPPORTED;
    if (is(d, "denied") || (is(d, "mig") && d->slice < 0)) return NO_PERMISSION;
    m->total = (d->slice >= 0 ? 10240 : 20480) * MIB;
    m->used = 1024 * MIB;
    m->reserved = 512 * MIB;
    m->free = m->total - m->used - m->reserved;
    return OK;
}

int nvmlDeviceGetMemoryInfo(device *d, memory_v1 *m) {
    if (trouble(d)) return trouble(d);
    if (is(d, "unified")) return NOT_SUPPORTED;
    if (is(d, "denied") || (is(d, "mig") && d->slice < 0)) return NO_PERMISSION;
    m->total = 20480 * MIB;
    m->used = 1536 * MIB; /* the first version counts what is reserved as used */
    m->free = m->total - m->used;
    return OK;
}

int nvmlDeviceGetUtilizationRates(device *d, rates *r) {
    if (extra(d)) return extra(d);
    r->gpu = 87;
    r->memory = 40;
    return OK;
}

int nvmlDeviceGetPowerUsage(device *d, unsigned *mw) { *mw = 412345; return extra(d); }
int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *mw) { *mw = 700000; return extra(d); }

int nvmlDeviceGetTemperatureV(device *d, temperature_v1 *t) {
    if (is(d, "old")) return NO_FUNCTION;
    t->celsius = 61;
    return extra(d);
}

int nvmlDeviceGetTemperature(device *d, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = 59;
    return extra(d);
}

int nvmlDeviceGetClockInfo(device *d, unsigned type, unsigned *mhz) {
    *mhz = type == 1 ? 1755 : type == 2 ? 3201 : 0;
    return extra(d);
}

/* idle + power limit + too hot (hardware) */
int nvmlDeviceGetCurrentClocksEventReasons(device *d, unsigned long long *bits) {
    if (is(d, "old")) return NO_FUNCTION;
    *bits = 0x1 | 0x4 | 0x40;
    return extra(d);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device *d, unsigned long long *bits) { *bits = 0x8; return extra(d); }

static int list(device *d, unsigned *count, process *out, const process *all, unsigned n) {
    if (trouble(d)) return trouble(d);
    if (is(d, "denied")) return NO_PERMISSION;
    if (is(d, "bare")) return NOT_SUPPORTED;
    if (n == 0) { *count = 0; return OK; }
    if (*count < n) { *count = n; return TOO_SMALL; }
    memcpy(out, all, n * sizeof *all);
    *count = n;
    return OK;
}

static int compute(device *d, unsigned *count, process *out) {
    /* Ourselves, and a pid that no Linux has (above pid_max) whose memory the driver does not know. */
    process all[] = {{(unsigned)getpid(), 600 * MIB, 0, 0}, {99999999u, ~0ull, 0, 0}};
    if (d->slice >= 0) all[0].used = (100 + (unsigned)d->slice) * MIB;
    return list(d, count, out, all, d->slice >= 0 ? 1 : 2);
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, process *out) {
    return is(d, "old") ? NO_FUNCTION : compute(d, count, out);
}

int nvmlDeviceGetComputeRunningProcesses_v2(device *d, unsigned *count, process *out) {
    return is(d, "old") ? compute(d, count, out) : NO_FUNCTION;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device *d, unsigned *count, process *out) {
    /* Ourselves again, with more memory; and one that only draws. */
    process all[] = {{(unsigned)getpid(), 640 * MIB, 0, 0}, {99999998u, 8 * MIB, 0, 0}};
    return list(d, count, out, all, is(d, "ok") ? 2 : 0);
}

int nvmlDeviceGetMigMode(device *d, unsigned *now, unsigned *pending) {
    *now = is(d, "mig");
    *pending = 1; /* what the next reset brings must not matter */
    return extra(d);
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { *count = 3; return trouble(d); }

int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned place, device **out) {
    if (place == 1) return NOT_FOUND;
    slices[d->index][place].index = d->index;
    slices[d->index][place].slice = (int)place;
    *out = &slices[d->index][place];
    return OK;
}

#endif
