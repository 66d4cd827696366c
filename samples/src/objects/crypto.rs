//! Signatures of requests by the `ring` that TLS uses, with its features as they are.

use object_store::{
    Error, Result,
    client::{CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm},
};
use ring::{digest, hmac};

/// SHA-256, which is all that requests to S3 need.
#[derive(Debug)]
pub(super) struct Ring;

impl CryptoProvider for Ring {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                Ok(Box::new(Digest { context: digest::Context::new(&digest::SHA256), done: None }))
            }
            other => Err(missing(format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                Ok(Box::new(Hmac { context: hmac::Context::with_key(&key), done: None }))
            }
            other => Err(missing(format!("{other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        Err(missing(format!("{algorithm:?}")))
    }
}

fn missing(algorithm: String) -> Error {
    Error::NotSupported { source: format!("{algorithm} is not a part of requests to S3").into() }
}

struct Digest {
    context: digest::Context,
    done: Option<digest::Digest>,
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        self.context.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        let context = self.context.clone();
        let done: &digest::Digest = self.done.insert(context.finish());
        Ok(done.as_ref())
    }
}

struct Hmac {
    context: hmac::Context,
    done: Option<hmac::Tag>,
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.context.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        let context = self.context.clone();
        let done: &hmac::Tag = self.done.insert(context.sign());
        Ok(done.as_ref())
    }
}
