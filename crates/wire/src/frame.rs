//! Frames: one tag byte, four length bytes that count themselves, a body
//! (PostgreSQL documentation, "Message Formats"). Nothing is copied; the caller
//! owns the bytes and keeps what is incomplete.

use thiserror::Error;

/// Bytes before a frame's body: the tag and the length.
pub const HEADER: usize = 5;

/// The largest frame PostgreSQL itself accepts or sends (`PQ_LARGE_MESSAGE_LIMIT`,
/// `MaxAllocSize - 1`): one byte short of 1 GiB, plus the tag.
pub const LARGEST_FRAME: usize = 0x3fff_ffff;

/// What a header says of a frame, whether or not its body has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The message type.
    pub tag: u8,
    /// All bytes of the frame: tag, length and body.
    pub total: usize,
}

impl Frame {
    /// Bytes of the body alone.
    pub fn body_len(self) -> usize {
        self.total - HEADER
    }
}

/// A length no frame can have: the stream is not the protocol, or no longer in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "message type {tag:#04x} claims a length of {length} bytes; 4 to {LARGEST_FRAME} are possible"
)]
pub struct FrameError {
    /// The message type as read.
    pub tag: u8,
    /// The length as read.
    pub length: u32,
}

/// Reads the header at the start of `bytes`: `None` while fewer than five bytes
/// are there.
///
/// # Errors
/// A length below 4 or above [`LARGEST_FRAME`]; no memory has been taken for it.
#[inline]
pub fn peek(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [tag, a, b, c, d] = *header;
    let length = u32::from_be_bytes([a, b, c, d]);
    if length < 4 || length as usize > LARGEST_FRAME {
        return Err(FrameError { tag, length });
    }
    Ok(Some(Frame {
        tag,
        total: length as usize + 1,
    }))
}

/// Splits one NUL-terminated string off the front of `body`: the string without
/// its NUL and what follows it. `None` when no NUL is there (yet).
#[inline]
pub fn split_cstr(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = body.iter().position(|&byte| byte == 0)?;
    Some((&body[..end], &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_checked_before_anything_is_believed() {
        assert_eq!(peek(b"Q\0\0\0"), Ok(None));
        assert_eq!(
            peek(b"Z\0\0\0\x05I"),
            Ok(Some(Frame {
                tag: b'Z',
                total: 6
            }))
        );
        for length in [0u32, 3, 0x4000_0000, u32::MAX] {
            let mut bytes = vec![b'D'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(peek(&bytes), Err(FrameError { tag: b'D', length }));
        }
    }

    #[test]
    fn strings_end_at_their_nul() {
        assert_eq!(split_cstr(b"ab\0c"), Some((&b"ab"[..], &b"c"[..])));
        assert_eq!(split_cstr(b"\0"), Some((&b""[..], &b""[..])));
        assert_eq!(split_cstr(b"ab"), None);
    }

    /// Feeds `stream` in the given pieces and collects the frames, keeping what is incomplete.
    fn frames_in_pieces(stream: &[u8], cuts: &[usize]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut held = Vec::new();
        let mut from = 0;
        for &cut in cuts.iter().chain([stream.len()].iter()) {
            let cut = cut.min(stream.len()).max(from);
            held.extend_from_slice(&stream[from..cut]);
            from = cut;
            while let Some(frame) = peek(&held).expect("valid") {
                if held.len() < frame.total {
                    break;
                }
                frames.push((frame.tag, held[HEADER..frame.total].to_vec()));
                held.drain(..frame.total);
            }
        }
        assert!(held.is_empty());
        frames
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_frames(
            bodies in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
            mut cuts in proptest::collection::vec(0usize..600, 0..20),
        ) {
            let mut stream = Vec::new();
            for (tag, body) in &bodies {
                stream.push(*tag);
                stream.extend((body.len() as u32 + 4).to_be_bytes());
                stream.extend(body);
            }
            cuts.sort_unstable();
            prop_assert_eq!(frames_in_pieces(&stream, &cuts), bodies);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(frame)) = peek(&bytes) {
                prop_assert!(frame.total >= HEADER && frame.total <= LARGEST_FRAME + 1);
            }
        }
    }
}
