//! Names of objects that are the same in every file and every run.

use sha2::{Digest, Sha256};

/// A UUID for an object of a slide, by its number: QuPath knows objects by UUIDs, and makes up others where it finds none.
///
/// It is one of version 8 (RFC 9562): the first bytes of a SHA-256 of both.
pub(super) fn object_uuid(slide_id: &str, number: u64) -> String {
    let digest =
        Sha256::new_with_prefix(slide_id).chain_update([0]).chain_update(number.to_le_bytes()).finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes.map(|byte| format!("{byte:02x}")).concat();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_a_uuid_and_differ() {
        let id = object_uuid("slide", 7);
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
        assert_eq!((&id[14..15], u8::from_str_radix(&id[19..20], 16).unwrap() & 0xc), ("8", 0x8));
        assert_eq!(id, object_uuid("slide", 7));
        assert!(id != object_uuid("slide", 8) && id != object_uuid("slides", 7));
    }
}
