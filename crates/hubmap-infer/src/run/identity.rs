//! What tells models apart.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// SHA-256 in hexadecimal digits of the contents of some files, in their order; their names do not count.
pub fn hash_files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<String> {
    let mut all = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let path = path.as_ref();
        let mut digest = Sha256::new();
        let mut hash = || -> std::io::Result<()> {
            let mut file = File::open(path)?;
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => digest.update(&buffer[..n]),
                }
            }
        };
        hash().with_context(|| format!("cannot read {}", path.display()))?;
        all.update(digest.finalize());
    }
    Ok(hex(&all.finalize()))
}

/// SHA-256 of a value as JSON.
pub(super) fn hash_json(value: &serde_json::Value) -> Result<String> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(value)?)))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_their_order_count() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (a, b, copy) = (write("a", "first"), write("b", "second"), write("c", "first"));
        let hash = hash_files([&a, &b]).unwrap();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, hash_files([&copy, &b]).unwrap());
        assert_ne!(hash, hash_files([&b, &a]).unwrap());
        // Parts that join to the same bytes are not the same files.
        assert_ne!(hash, hash_files([write("d", "firs"), write("e", "tsecond")]).unwrap());
        assert!(format!("{:#}", hash_files([folder.path().join("none")]).unwrap_err()).contains("none"));
    }
}
