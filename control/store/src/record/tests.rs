use super::*;

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = vec![9; 3];
    record.encode(Revision(7), "pods/a", &mut bytes);
    bytes
}

#[test]
fn a_record_comes_back_as_it_was() {
    for record in [
        Record::Put { created: Revision(3), version: 4, value: Bytes::from_static(b"value") },
        Record::Put { created: Revision(u64::MAX), version: u64::MAX, value: Bytes::new() },
        Record::Delete,
    ] {
        assert_eq!(Record::decode(Revision(7), "pods/a", &encoded(&record)), Ok(record));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let good =
        encoded(&Record::Put { created: Revision(3), version: 4, value: Bytes::from_static(b"value") });
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Record::decode(Revision(7), "pods/a", &bytes).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(Record::decode(Revision(7), "pods/a", &good[..length]).is_err(), "length {length}");
    }
    let head = Head { revision: Revision(5), compacted: Revision(3), records: 9 }.encode();
    for bit in 0..head.len() * 8 {
        let mut bytes = head;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Head::decode(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn a_record_does_not_pass_for_another() {
    let bytes = encoded(&Record::Delete);
    assert!(Record::decode(Revision(8), "pods/a", &bytes).is_err());
    let refused = Record::decode(Revision(7), "pods/b", &bytes).unwrap_err();
    assert_eq!(refused, "the record of key \"pods/b\" at revision 7 does not match its checksum");
}
