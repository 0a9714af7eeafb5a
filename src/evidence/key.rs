//! Keys to sign with: Ed25519, in the PEM files that `openssl` reads and writes too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pem::{EncodeConfig, LineEnding, Pem};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// What stands before the 32 bytes of a private key in its DER form. Source: RFC 8410, section 7.
const PRIVATE: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What stands before the 32 bytes of a public key in its DER form. Source: RFC 8410, section 4.
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The length of both keys.
const LENGTH: usize = 32;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written; an old one is never written over.
    #[error("cannot write the key `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others on the machine may read a private key.
    #[error("others may read the private key `{0}` (mode {mode:03o}); `chmod 600 {0}`, or make another", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is something else.
    #[error("`{}` is no {wanted} key for Ed25519 in PEM; `brownout keygen FILE` makes a pair", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// `private` or `public`.
        wanted: &'static str,
    },
    /// The machine gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

/// A key that tells whether its counterpart signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; LENGTH]);

impl SigningKey {
    /// Makes a pair: the private key at `path`, for its owner's eyes only, and the public one at `path` with `.pub`.
    pub fn create(path: &Path) -> Result<PathBuf, KeyError> {
        let mut secret = [0; LENGTH];
        SystemRandom::new().fill(&mut secret).map_err(|_| KeyError::Random)?;
        let key = SigningKey::of(&secret, path)?;
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        write(path, 0o600, "PRIVATE KEY", &[&PRIVATE[..], &secret].concat())?;
        if let Err(error) = write(&public, 0o644, "PUBLIC KEY", &key.public().der()) {
            // Half a pair is of no use; that it cannot be removed either adds nothing to the error.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(public)
    }

    /// Reads a private key, unless others may read it too.
    pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
        let unreadable = |source| KeyError::Read { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        SigningKey::of(&read(path, "private", "PRIVATE KEY", &PRIVATE)?, path)
    }

    fn of(secret: &[u8; LENGTH], path: &Path) -> Result<SigningKey, KeyError> {
        let format = |_| KeyError::Format { path: path.to_owned(), wanted: "private" };
        Ok(SigningKey(Ed25519KeyPair::from_seed_unchecked(secret).map_err(format)?))
    }

    /// Its counterpart.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("a public key of Ed25519 has 32 bytes"))
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Reads a public key.
    pub fn read(path: &Path) -> Result<PublicKey, KeyError> {
        Ok(PublicKey(read(path, "public", "PUBLIC KEY", &PUBLIC)?))
    }

    /// What it is called: the first 16 digits of the SHA-256 of its DER form.
    pub fn name(&self) -> String {
        super::files::hex(&Sha256::digest(self.der())[..8])
    }

    pub(super) fn signed(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(text, signature).is_ok()
    }

    fn der(&self) -> Vec<u8> {
        [&PUBLIC[..], &self.0].concat()
    }
}

/// The key in a PEM file: what follows `start` in its DER form.
fn read(path: &Path, wanted: &'static str, tag: &str, start: &[u8]) -> Result<[u8; LENGTH], KeyError> {
    let text = fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    let pem = pem::parse(text).ok().filter(|pem| pem.tag() == tag);
    let key = pem.as_ref().and_then(|pem| pem.contents().strip_prefix(start)?.try_into().ok());
    key.ok_or_else(|| KeyError::Format { path: path.to_owned(), wanted })
}

/// Writes a new file that has its permissions from the first byte on.
fn write(path: &Path, mode: u32, tag: &str, der: &[u8]) -> Result<(), KeyError> {
    let text = pem::encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF));
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| KeyError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_signs_and_tells_and_an_old_key_is_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("release.key");
        let public = SigningKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (key, public) = (SigningKey::read(&path).unwrap(), PublicKey::read(&public).unwrap());
        assert_eq!(key.public(), public);
        let signature = key.sign(b"text");
        assert!(public.signed(b"text", &signature) && !public.signed(b"Text", &signature));
        let old = fs::read(&path).unwrap();
        assert!(matches!(SigningKey::create(&path), Err(KeyError::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), old);
    }

    #[test]
    fn a_private_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        SigningKey::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_key_of_the_wrong_kind_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let public = SigningKey::create(&path).unwrap();
        assert!(matches!(PublicKey::read(&path), Err(KeyError::Format { wanted: "public", .. })));
        fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(SigningKey::read(&public), Err(KeyError::Format { wanted: "private", .. })));
        fs::write(&public, "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n").unwrap();
        assert!(matches!(PublicKey::read(&public), Err(KeyError::Format { .. })));
    }
}
