"""Sound for the recording: AAC as it is, anything else made into AAC, both with timestamps in 1/sample rate."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.packet import Packet

from shared.config.channels import AudioMode

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_BIT_RATE = 32_000  # of one telephone-quality channel
_RESYNC_S = 0.2  # timestamps off by more than this from the samples counted: packets were lost, follow the timestamps


def specific_config(sample_rate: int, channels: int) -> bytes:
    """AudioSpecificConfig (ISO/IEC 14496-3) of AAC-LC, for streams that carry it in every frame (ADTS) instead."""
    return ((2 << 11) | (_AAC_RATES.index(sample_rate) << 7) | (channels << 3)).to_bytes(2, "big")


class AacPass:
    """AAC of the camera, copied."""

    def __init__(self, stream: AudioStream) -> None:
        self.template = stream
        self.codec = "aac"
        self.rate = int(stream.codec_context.sample_rate)
        context = stream.codec_context
        self.extradata = context.extradata or specific_config(self.rate, context.layout.nb_channels)
        self._base = Fraction(1, self.rate)
        # MP4 keeps the configuration once; MPEG-TS repeats it in a header before every frame, which is taken off.
        self._filter = None if context.extradata else BitStreamFilterContext("aac_adtstoasc", in_stream=stream)

    def packets(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """The packet, its timestamps in samples."""
        if packet.pts is None:
            return []
        if self._filter is not None:
            try:
                return [self._in_samples(bare) for bare in self._filter.filter(packet) if bare.pts is not None]
            except av.FFmpegError:  # one broken sound packet
                return []
        return [self._in_samples(packet)]

    def _in_samples(self, packet: Any) -> Packet[Any]:
        if packet.time_base != self._base:
            pts = round(packet.pts * packet.time_base * self.rate)
            packet.duration = 1024
            packet.time_base = self._base
            packet.pts = pts
        packet.dts = packet.pts
        made: Packet[Any] = packet
        return made


class AacEncoder:
    """Anything libav decodes, as AAC-LC of the same rate, mono or stereo."""

    def __init__(self, stream: AudioStream) -> None:
        self.codec = "aac"
        context = stream.codec_context
        self.rate = context.sample_rate if context.sample_rate in _AAC_RATES else 16_000
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        # A container that goes nowhere: it holds the encoder, and is the template for the segments' streams.
        self._holder = av.open(os.devnull, "w", format="null")
        self.template = self._holder.add_stream("aac", rate=self.rate, layout=layout)
        self.template.codec_context.bit_rate = _BIT_RATE * context.layout.nb_channels
        self.template.codec_context.flags |= av.codec.context.Flags.global_header
        self._holder.start_encoding()
        self.extradata = self.template.codec_context.extradata or specific_config(self.rate, 1 if layout == "mono" else 2)
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=self.rate, frame_size=1024)
        self._unit = Fraction(1, self.rate)
        self._samples = 0  # taken from the camera
        self._encoded = 0  # given to the encoder
        self._base = 0  # what is added to the count to make timestamps

    def packets(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """What the encoder has ready after this packet; timestamps follow the camera's, in samples."""
        made: list[Packet[Any]] = []
        try:
            decoded: Any = packet.decode()
        except av.FFmpegError:  # one broken sound packet: the recording goes on without it
            return made
        for frame in decoded:
            if frame.pts is not None and frame.time_base is not None:
                at = round(frame.pts * frame.time_base * self.rate)
                if abs(at - self._base - self._samples) > _RESYNC_S * self.rate:
                    self._base = at - self._samples
            self._samples += round(frame.samples * self.rate / frame.sample_rate)
            frame.pts = None
            for piece in self._resampler.resample(frame):
                piece.pts, piece.time_base = self._encoded, self._unit
                self._encoded += piece.samples
                made += self.template.encode(piece)
        for out in made:
            out.pts = out.dts = (out.pts or 0) + self._base  # the encoder's priming comes out before 0, as it should
        return made


AudioTrack = AacPass | AacEncoder


def audio_track(stream: AudioStream | None, mode: AudioMode) -> AudioTrack | None:
    """How this sound is recorded, or None: not at all."""
    if stream is None or mode is AudioMode.OFF or stream.codec_context is None or not stream.codec_context.sample_rate:
        return None
    if stream.codec_context.name in ("aac", "aac_latm") and stream.codec_context.sample_rate in _AAC_RATES:
        return AacPass(stream) if stream.codec_context.name == "aac" else AacEncoder(stream)
    return AacEncoder(stream) if mode is AudioMode.TRANSCODE else None
