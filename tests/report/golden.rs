//! Files in the repository that the code makes: compared by default, made again with `UPDATE_GOLDEN=1`.

use std::fs;
use std::path::Path;

/// Fails unless the file holds exactly this, and says how to make it again.
pub(crate) fn check(path: &str, made: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, made).unwrap();
    }
    let kept = fs::read(&file).unwrap_or_default();
    let place = kept.iter().zip(made).position(|(kept, made)| kept != made).unwrap_or(kept.len().min(made.len()));
    let around = |bytes: &[u8]| {
        let from = place.saturating_sub(60).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..(place + 60).min(bytes.len())]).into_owned()
    };
    assert!(
        kept == made,
        "{path} is out of date at byte {place}; make it again with UPDATE_GOLDEN=1 cargo test --test report\n  kept: {}\n  made: {}",
        around(&kept),
        around(made)
    );
}
