//! `hubmap-doctor` as a person runs it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use hubmap_test_support::{check_command_line, run};
use serde_json::Value;

#[test]
fn a_machine_that_runs_tests_is_well() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().display().to_string();
    let ran = run(env!("CARGO_BIN_EXE_hubmap-doctor"), ["--json", "--dir", &dir]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["n_failures"], 0);
    let checks = report["checks"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert!(check("memory")["values"]["total_bytes"].as_u64() > Some(1 << 28), "{report}");
    assert!(check("reading")["values"]["jpeg_mpx_per_s"].as_f64() > Some(0.0), "{report}");
    assert!(check("codecs")["values"]["sound"].as_array().unwrap().len() >= 9, "{report}");
    if cfg!(feature = "networks") {
        assert!(check("network")["values"]["seconds_per_tile"].as_f64() > Some(0.0), "{report}");
        assert_eq!(check("network")["values"]["device"], "flex");
    }
    let line: Value = serde_json::from_str(ran.stderr.lines().next().unwrap()).unwrap();
    assert_eq!((&line["level"], line["timestamp"].is_string()), (&"INFO".into(), true));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);

    let ran = run(env!("CARGO_BIN_EXE_hubmap-doctor"), ["-q", "--dir", &dir]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stdout.lines().any(|line| line.starts_with("ok   codecs")), "{ran:?}");
    assert!(ran.stdout.trim_end().ends_with("0 failures"), "{ran:?}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("results")).unwrap();
    let dir = place.path().join("reslts").display().to_string();
    run(env!("CARGO_BIN_EXE_hubmap-doctor"), ["--dir", &dir])
        .assert_error(2, &["no such file or folder", "did you mean", "results?"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_fails() {
    let ran = run(env!("CARGO_BIN_EXE_hubmap-doctor"), ["-q", "--dir", "/proc"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("FAIL writing"), "{ran:?}");
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-doctor"), false, cfg!(feature = "networks"));
}
