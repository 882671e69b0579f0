//! Making the bytes of a file, wherever they go.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{BlockHeader, BlockKind, COMPRESSION, Head, Kind, Totals};
use crate::limits;
use crate::storage_error::StorageError;

/// Encodes a file piece by piece: its header, then each chunk, then the footer.
pub(crate) struct BlockWriter {
    /// What errors name.
    path: PathBuf,
    what: &'static str,
    seed: u32,
    totals: Totals,
    seal: Option<Sha256>,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter")
            .field("path", &self.path)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// Starts a file. Its first bytes go behind `out`.
    pub(crate) fn start(kind: Kind, head: &Head, path: PathBuf, out: &mut Vec<u8>) -> Self {
        let mut writer = Self {
            path,
            what: kind.name,
            seed: head.seed,
            totals: Totals::default(),
            seal: kind.is_sealed.then(Sha256::new),
        };
        writer.put(&head.bytes, out);
        writer
    }

    /// The bytes of the next chunk go behind `out`.
    pub(crate) fn chunk(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StorageError> {
        let limit_bytes = limits::SNAPSHOT_CHUNK_BYTES;
        if chunk.len() > limit_bytes {
            return Err(StorageError::TooLarge {
                what: self.what,
                size_bytes: chunk.len(),
                limit_bytes,
            });
        }
        let stored = zstd::bulk::compress(chunk, COMPRESSION)
            .map_err(|e| StorageError::io("compress", &self.path, 0, e))?;
        let block = self.block(BlockKind::Chunk, chunk.len(), &stored, out);
        self.totals.add(&block);
        Ok(())
    }

    /// The last bytes go behind `out`; gives the SHA-256 if the kind has one.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Option<[u8; super::SEAL_BYTES]> {
        let mut body = self.totals.encode();
        let seal = self
            .seal
            .take()
            .map(|seal| <[u8; super::SEAL_BYTES]>::from(seal.chain_update(&body).finalize()));
        body.extend_from_slice(seal.as_ref().map_or(&[][..], |seal| &seal[..]));
        self.block(BlockKind::Footer, body.len(), &body, out);
        seal
    }

    fn block(&mut self, kind: BlockKind, raw_bytes: usize, stored: &[u8], out: &mut Vec<u8>) -> BlockHeader {
        const FITS: &str = "chunks are limited to far less than 4 GiB";
        let mut block = BlockHeader {
            kind,
            number: self.totals.blocks,
            stored_bytes: u32::try_from(stored.len()).expect(FITS),
            raw_bytes: u32::try_from(raw_bytes).expect(FITS),
            checksum: 0,
        };
        block.checksum = block.compute_checksum(self.seed, stored);
        self.put(&block.encode(), out);
        self.put(stored, out);
        block
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Some(seal) = &mut self.seal {
            seal.update(bytes);
        }
        out.extend_from_slice(bytes);
    }
}
