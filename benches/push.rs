//! Sends one file as a blob with the library's client: what `benches/push` compares with curl.
//!
//!     push-blob docker://HOST/REPOSITORY FILE DIGEST

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

use std::{path::PathBuf, process::ExitCode};

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_registry::{Access, BlobSource, Credentials, Registry, RegistryOptions, RepositoryRef, no_events};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(send())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("push-blob: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn send() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, file, digest] = &arguments[..] else { return Err("REFERENCE FILE DIGEST".into()) };
    let file = PathBuf::from(file);
    let blob = Descriptor {
        media_type: MediaType::ImageLayerGzip,
        digest: digest.parse()?,
        size: std::fs::metadata(&file)?.len(),
        annotations: Default::default(),
    };
    let repository = reference.parse::<RepositoryRef>()?.repository;
    let options = RegistryOptions::default();
    let registry = Registry::connect(&repository, Access::Push, &options, Credentials::Anonymous, no_events())?;
    registry.put_blob(&blob, BlobSource::File(&file), None).await?;
    println!("{} bytes", registry.bytes_sent());
    Ok(())
}
