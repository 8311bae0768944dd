//! Build, processor, memory and disk.

use std::path::Path;

use sysinfo::System;

use super::Check;

const GIB: f64 = (1_u64 << 30) as f64;
/// Free memory under which whole slides are at risk, in GiB: the default tiles of inference take about as much.
const LOW_MEMORY_GIB: f64 = 4.0;
/// Free memory under which nothing of use runs, in GiB.
const LEAST_MEMORY_GIB: f64 = 1.0;
/// Free disk under which the files of one slide may not fit, in GiB: probabilities of 30000x30000 px take 2.
const LOW_DISK_GIB: f64 = 20.0;
const LEAST_DISK_GIB: f64 = 0.5;

pub(super) fn build() -> Check {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let check = Check::ok("build", format!("hubmap {version}, {os} {arch}, {profile} build"))
        .with("version", version)
        .with("profile", profile);
    if cfg!(debug_assertions) {
        check.warn("this build is slow: build with `cargo build --release`")
    } else {
        check
    }
}

pub(super) fn processor() -> Check {
    let mut system = System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first().map_or("", |cpu| cpu.brand().trim());
    let brand = if brand.is_empty() { "unknown processor" } else { brand };
    let features = instruction_sets();
    let kernels = hubmap_kernels::instruction_set();
    let check = Check::ok("processor", format!("{brand}; {}; kernels use {kernels}", features.join(", ")))
        .with("model", brand)
        .with("instruction_sets", features)
        .with("kernels", kernels);
    if kernels == "scalar" {
        check.warn("no vector instructions that hubmap knows (AVX2 with FMA, AVX-512, NEON): networks on the CPU are slow")
    } else {
        check
    }
}

/// Those of the processor that matter to kernels and codecs.
fn instruction_sets() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("SSE4.1", is_x86_feature_detected!("sse4.1")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("AVX-512F", is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(target_arch = "aarch64")]
    let known = [("NEON", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let known: [(&str, bool); 0] = [];
    known.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

pub(super) fn cores() -> Check {
    let mut system = System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let n_logical = system.cpus().len();
    let n_physical = System::physical_core_count().unwrap_or(n_logical);
    // Heeds affinity and, on Linux, the quota of the cgroup.
    let n_usable = std::thread::available_parallelism().map_or(n_logical, usize::from);
    let check = Check::ok("cores", format!("{n_usable} usable of {n_logical} ({n_physical} physical)"))
        .with("usable", n_usable)
        .with("logical", n_logical)
        .with("physical", n_physical);
    if n_usable < n_logical {
        check.warn("affinity or a cgroup limit takes cores away: start with more of them (taskset, docker --cpus, #SBATCH -c)")
    } else {
        check
    }
}

pub(super) fn memory() -> Check {
    let mut system = System::new();
    system.refresh_memory();
    let (mut total, mut free) = (system.total_memory(), system.available_memory());
    let mut limited = "";
    if let Some(limits) = system.cgroup_limits().filter(|limits| limits.total_memory < total) {
        (total, free) = (limits.total_memory, limits.free_memory.min(free));
        limited = ", limit of the cgroup";
    }
    judge_memory(total, free, limited)
}

fn judge_memory(total: u64, free: u64, limited: &str) -> Check {
    let (total_gib, free_gib) = (total as f64 / GIB, free as f64 / GIB);
    let check = Check::ok("memory", format!("{free_gib:.1} GiB free of {total_gib:.1} GiB{limited}"))
        .with("free_bytes", free)
        .with("total_bytes", total);
    if free_gib < LEAST_MEMORY_GIB {
        check.fail("too little for a slide: end other programs, or raise the limit of the container")
    } else if free_gib < LOW_MEMORY_GIB {
        check.warn("little: use --threads 1 and infer.block=512, train with a small batch_size")
    } else {
        check
    }
}

pub(super) fn disk(folder: &Path) -> Check {
    match fs4::available_space(folder) {
        Ok(free) => judge_disk(folder, free),
        Err(error) => Check::ok("disk", format!("{}: {error}", folder.display()))
            .fail("name a folder that is there: hubmap-doctor --dir DIR"),
    }
}

fn judge_disk(folder: &Path, free: u64) -> Check {
    let free_gib = free as f64 / GIB;
    let check = Check::ok("disk", format!("{free_gib:.1} GiB free in {}", folder.display()))
        .with("free_bytes", free)
        .with("folder", folder.display().to_string());
    if free_gib < LEAST_DISK_GIB {
        check.fail("full: make room, or write to another disk")
    } else if free_gib < LOW_DISK_GIB {
        check.warn("little: a large slide with all its outputs takes several GiB; --write names those that are wanted")
    } else {
        check
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn little_memory_and_disk_are_told() {
        let gib = |amount: f64| (amount * GIB) as u64;
        for (free, verdict) in [(0.5, Verdict::Fail), (2.0, Verdict::Warn), (8.0, Verdict::Ok)] {
            let check = judge_memory(gib(16.0), gib(free), "");
            assert_eq!((check.verdict, check.hint.is_some()), (verdict, verdict != Verdict::Ok));
            assert!(check.found.starts_with(&format!("{free:.1} GiB free of 16.0 GiB")), "{check:?}");
        }
        for (free, verdict) in [(0.1, Verdict::Fail), (3.0, Verdict::Warn), (100.0, Verdict::Ok)] {
            assert_eq!(judge_disk(Path::new("."), gib(free)).verdict, verdict);
        }
    }

    #[test]
    fn cores_and_kernels_are_those_of_this_machine() {
        let cores = cores();
        assert!(cores.values["usable"].as_u64() >= Some(1), "{cores:?}");
        assert!(cores.values["usable"].as_u64() <= cores.values["logical"].as_u64(), "{cores:?}");
        let processor = processor();
        assert_eq!(processor.values["kernels"], hubmap_kernels::instruction_set());
    }
}
