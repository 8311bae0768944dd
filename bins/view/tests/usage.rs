//! `hubmap-view` as a person runs and stops it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hubmap_io::Size;
use hubmap_synth::{FileFormat, SlideSpec, SyntheticSlide, write_slide};
use hubmap_test_support::{check_command_line, run};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_hubmap-view");

fn slide(path: &Path) {
    let slide = SyntheticSlide::new(SlideSpec::new(Size::new(300, 200), 1)).unwrap();
    write_slide(path, &slide, FileFormat::default()).unwrap();
}

/// Starts a server and waits for the address that it prints, `http://127.0.0.1:<port>/`.
fn start(slide: &Path, more: &[&str]) -> (Child, String) {
    let mut child = Command::new(EXECUTABLE).arg(slide).args(more).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let host = line.trim_end().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
    (child, host.unwrap_or_else(|| panic!("{line:?} is no address")).to_owned())
}

fn get(host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[cfg(unix)]
#[test]
fn it_serves_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tiff");
    slide(&path);
    for signal in ["-INT", "-TERM"] {
        let (mut child, host) = start(&path, &["--quiet"]);
        assert!(host.starts_with("127.0.0.1:"), "{host}");
        assert!(get(&host, "/").contains("<title>hubmap-view</title>"));
        assert!(get(&host, "/slides/0/info.json").contains("\"width\":300"));
        // A connection that is left open does not hold it up.
        let _idle = TcpStream::connect(&host).unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(TcpStream::connect(&host).is_err());
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tiff");
    slide(&path);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = run(EXECUTABLE, [path.as_os_str(), "--port".as_ref(), port.as_ref()]);
    ran.assert_error(1, &["port", &port]);
}

#[test]
fn wrong_usage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tiff");
    run(EXECUTABLE, [path.as_os_str()]).assert_error(2, &["a.tiff"]);
    run(EXECUTABLE, [folder.path().as_os_str()]).assert_error(2, &["no slides in"]);
    slide(&path);
    let list = folder.path().join("slides.csv");
    std::fs::write(&list, "path,mpp\na.tiff,1\n").unwrap();
    run(EXECUTABLE, ["--manifest".as_ref(), list.as_os_str()]).assert_error(2, &["slides.csv", "mpp"]);
    for (flag, part) in [("--predictions", "no output folder of hubmap-infer"), ("--truth", "a slide in")] {
        let empty = folder.path().join("empty");
        std::fs::create_dir_all(&empty).unwrap();
        run(EXECUTABLE, [path.as_os_str(), flag.as_ref(), empty.as_os_str()])
            .assert_error(2, &["empty", part]);
    }
}

#[test]
fn the_command_line_is_that_of_all_executables() {
    check_command_line(env!("CARGO_BIN_EXE_hubmap-view"), false, false);
}
