//! Chunks: runs of samples of one kind, encoded as Prometheus's `chunks.md` says.

mod bits;
mod histogram;
mod layout;
mod spans;
#[cfg(test)]
mod tests;
mod xor;

use bytes::Bytes;

use crate::{Error, Result, Sample, Value};
use histogram::{Cut, HistogramReader, HistogramWriter};
use layout::ResetHeader;
use xor::{XorReader, XorWriter};

/// The encoding of a chunk, by the number that it has in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Histograms of whole observations.
    Histogram = 2,
    /// Histograms of fractions.
    FloatHistogram = 3,
}

impl Encoding {
    /// From the number in a file.
    pub fn from_byte(byte: u8) -> Result<Self> {
        match byte {
            1 => Ok(Self::Xor),
            2 => Ok(Self::Histogram),
            3 => Ok(Self::FloatHistogram),
            _ => Err(Error::Unsupported { what: "chunk".into(), found: format!("encoding {byte}") }),
        }
    }
}

/// An encoded chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How `data` is encoded.
    pub encoding: Encoding,
    /// The samples.
    pub data: Bytes,
}

impl Chunk {
    /// How many samples it says to have.
    pub fn len(&self) -> usize {
        xor::count(&self.data).into()
    }

    /// Whether it says to have none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from its first sample.
    pub fn samples(&self) -> Result<ChunkReader> {
        Ok(ChunkReader(match self.encoding {
            Encoding::Xor => Kind::Float(XorReader::new(&self.data)?),
            Encoding::Histogram => Kind::Histogram(Box::new(HistogramReader::new(&self.data)?)),
            Encoding::FloatHistogram => Kind::FloatHistogram(Box::new(HistogramReader::new(&self.data)?)),
        }))
    }
}

/// Reads a chunk sample by sample.
#[derive(Clone, Debug)]
pub struct ChunkReader(Kind<XorReader, Box<HistogramReader<u64>>, Box<HistogramReader<f64>>>);

/// The same thing for each kind of sample.
#[derive(Clone, Debug)]
enum Kind<F, H, G> {
    Float(F),
    Histogram(H),
    FloatHistogram(G),
}

impl ChunkReader {
    /// The next sample, none at the end. After an error there is nothing more to be had.
    #[inline]
    pub fn read(&mut self) -> Result<Option<Sample>> {
        Ok(match &mut self.0 {
            Kind::Float(reader) => {
                reader.next()?.map(|(time, value)| Sample { time, value: Value::Float(value) })
            }
            Kind::Histogram(reader) => {
                reader.next()?.map(|(time, value)| Sample { time, value: value.into() })
            }
            Kind::FloatHistogram(reader) => {
                reader.next()?.map(|(time, value)| Sample { time, value: value.into() })
            }
        })
    }
}

/// An open chunk, which takes samples of one kind in the order of time.
#[derive(Clone, Debug)]
pub(crate) struct ChunkWriter(Kind<XorWriter, Box<HistogramWriter<u64>>, Box<HistogramWriter<f64>>>);

/// What became of a sample.
#[derive(Debug)]
pub(crate) enum Push {
    Done,
    /// It does not fit: this chunk is closed, and the one given begins with the sample.
    Next(ChunkWriter),
}

impl ChunkWriter {
    /// Begins with a sample.
    pub(crate) fn new(time: i64, value: &Value) -> Self {
        Self::with_header(time, value, ResetHeader::Unknown)
    }

    fn with_header(time: i64, value: &Value, header: ResetHeader) -> Self {
        // An empty chunk takes whatever comes.
        Self(match value {
            Value::Float(value) => {
                let mut writer = XorWriter::new();
                writer.push(time, *value);
                Kind::Float(writer)
            }
            Value::Histogram(histogram) => {
                let mut writer = HistogramWriter::new(header);
                let _ = writer.push(time, histogram);
                Kind::Histogram(Box::new(writer))
            }
            Value::FloatHistogram(histogram) => {
                let mut writer = HistogramWriter::new(header);
                let _ = writer.push(time, histogram);
                Kind::FloatHistogram(Box::new(writer))
            }
        })
    }

    /// Appends. A sample of another kind, or a histogram that cannot follow in this chunk, opens the next one.
    pub(crate) fn push(&mut self, time: i64, value: &Value) -> Push {
        let header = if usize::from(self.count()) >= MOST_SAMPLES {
            ResetHeader::Unknown
        } else {
            let pushed = match (&mut self.0, value) {
                (Kind::Float(writer), Value::Float(value)) => {
                    writer.push(time, *value);
                    Ok(())
                }
                (Kind::Histogram(writer), Value::Histogram(histogram)) => writer.push(time, histogram),
                (Kind::FloatHistogram(writer), Value::FloatHistogram(histogram)) => {
                    writer.push(time, histogram)
                }
                _ => Err(Cut(ResetHeader::Unknown)),
            };
            match pushed {
                Ok(()) => return Push::Done,
                Err(Cut(header)) => header,
            }
        };
        Push::Next(Self::with_header(time, value, header))
    }

    pub(crate) fn count(&self) -> u16 {
        match &self.0 {
            Kind::Float(writer) => writer.count(),
            Kind::Histogram(writer) => writer.count(),
            Kind::FloatHistogram(writer) => writer.count(),
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match &self.0 {
            Kind::Float(_) => Encoding::Xor,
            Kind::Histogram(_) => Encoding::Histogram,
            Kind::FloatHistogram(_) => Encoding::FloatHistogram,
        }
    }

    fn bits(&self) -> &bits::BitWriter {
        match &self.0 {
            Kind::Float(writer) => writer.bits(),
            Kind::Histogram(writer) => writer.bits(),
            Kind::FloatHistogram(writer) => writer.bits(),
        }
    }

    /// The encoded bytes so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bits().bytes()
    }

    /// Bytes on the heap.
    pub(crate) fn heap(&self) -> usize {
        let more = match &self.0 {
            Kind::Float(_) => 0,
            Kind::Histogram(writer) => size_of::<HistogramWriter<u64>>() + writer.overhead(),
            Kind::FloatHistogram(writer) => size_of::<HistogramWriter<f64>>() + writer.overhead(),
        };
        self.bits().capacity() + more
    }

    /// The newest sample.
    pub(crate) fn last(&self) -> Option<Sample> {
        match &self.0 {
            Kind::Float(writer) => {
                let (time, value) = writer.last();
                Some(Sample { time, value: Value::Float(value) })
            }
            Kind::Histogram(writer) => {
                writer.last().map(|(time, histogram)| Sample { time, value: histogram.into() })
            }
            Kind::FloatHistogram(writer) => {
                writer.last().map(|(time, histogram)| Sample { time, value: histogram.into() })
            }
        }
    }

    /// Closes the chunk.
    pub(crate) fn finish(self) -> (Encoding, Vec<u8>) {
        let encoding = self.encoding();
        let bytes = match self.0 {
            Kind::Float(writer) => writer.into_bytes(),
            Kind::Histogram(writer) => writer.into_bytes(),
            Kind::FloatHistogram(writer) => writer.into_bytes(),
        };
        (encoding, bytes)
    }
}

/// The count of samples has two bytes.
const MOST_SAMPLES: usize = u16::MAX as usize;

/// Encodes samples, which ascend in time, into chunks of at most `most` samples. Gives each with its first and last
/// time.
pub fn encode(samples: impl IntoIterator<Item = Sample>, most: usize) -> Vec<(i64, i64, Chunk)> {
    let mut chunks = Vec::new();
    let mut open: Option<(i64, i64, ChunkWriter)> = None;
    let mut close = |(first, last, writer): (i64, i64, ChunkWriter)| {
        let (encoding, data) = writer.finish();
        chunks.push((first, last, Chunk { encoding, data: data.into() }));
    };
    for Sample { time, value } in samples {
        let Some((_, last, writer)) = &mut open else {
            open = Some((time, time, ChunkWriter::new(time, &value)));
            continue;
        };
        let full = usize::from(writer.count()) >= most.clamp(1, MOST_SAMPLES);
        let next = match full {
            true => Push::Next(ChunkWriter::new(time, &value)),
            false => writer.push(time, &value),
        };
        match next {
            Push::Done => *last = time,
            Push::Next(next) => {
                if let Some(done) = open.replace((time, time, next)) {
                    close(done);
                }
            }
        }
    }
    if let Some(done) = open {
        close(done);
    }
    chunks
}
