"""What is called too often for Python, in the language of LLVM.

``get_filelen``, ``tell``, ``seek`` and ``read`` are called by libsndfile, and are what it wants of
``SF_VIRTUAL_IO``. The last argument of each is the address of what they know of the file: offset
of the next read, length, offset and length of the window, all in bytes; addresses of the window
and of a function that does what ``read`` cannot.

``follow`` goes from frame to frame of MPEG audio, for ``mpeg_frames.follow_frames``. ``mirror``
turns the bits of each byte around, for the checksums of Ogg.
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llvmlite.binding import ExecutionEngine

    from specctl.compiler import Compiled

_CODE = """
%known = type { i64, i64, i64, i64, ptr, ptr }

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i1 @llvm.vector.reduce.and.v4i1(<4 x i1>)
declare <32 x i8> @llvm.bitreverse.v32i8(<32 x i8>)
declare i8 @llvm.bitreverse.i8(i8)

define i64 @get_filelen(ptr %file) {
  %length.at = getelementptr %known, ptr %file, i32 0, i32 1
  %length = load i64, ptr %length.at
  ret i64 %length
}

define i64 @tell(ptr %file) {
  %position = load i64, ptr %file
  ret i64 %position
}

define i64 @seek(i64 %offset, i32 %whence, ptr %file) {
  %position = load i64, ptr %file
  %length = call i64 @get_filelen(ptr %file)
  %from.position = icmp eq i32 %whence, 1
  %from.end = icmp eq i32 %whence, 2
  %zero.or.position = select i1 %from.position, i64 %position, i64 0
  %base = select i1 %from.end, i64 %length, i64 %zero.or.position
  %sum = add i64 %base, %offset
  %is.before = icmp slt i64 %sum, 0
  %place = select i1 %is.before, i64 0, i64 %sum
  store i64 %place, ptr %file
  ret i64 %place
}

define i64 @read(ptr %out, i64 %count, ptr %file) {
  %start.at = getelementptr %known, ptr %file, i32 0, i32 2
  %n_held.at = getelementptr %known, ptr %file, i32 0, i32 3
  %position = load i64, ptr %file
  %start = load i64, ptr %start.at
  %n_held = load i64, ptr %n_held.at
  ; without a sign, what lies before the window lies far behind it
  %offset = sub i64 %position, %start
  %n_left = sub i64 %n_held, %offset
  %begins.inside = icmp ule i64 %offset, %n_held
  %ends.inside = icmp ule i64 %count, %n_left
  %is.there = and i1 %begins.inside, %ends.inside
  br i1 %is.there, label %copy, label %ask

copy:
  %window.at = getelementptr %known, ptr %file, i32 0, i32 4
  %window = load ptr, ptr %window.at
  %from = getelementptr i8, ptr %window, i64 %offset
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %from, i64 %count, i1 false)
  %after = add i64 %position, %count
  store i64 %after, ptr %file
  ret i64 %count

ask:
  %read_on.at = getelementptr %known, ptr %file, i32 0, i32 5
  %read_on = load ptr, ptr %read_on.at
  %n_read = call i64 %read_on(ptr %out, i64 %count, ptr %file)
  ret i64 %n_read
}

; The second byte of a header is given with its flag for no checksum. There is a frame's length
; for each third byte, 0 for none, and for each fourth byte the place of a Xing header, 0 for none.
define void @follow(ptr %window, i64 %size, i64 %start, i64 %stop, i64 %second, ptr %lengths,
                    ptr %xing_at, ptr %result) {
entry:
  %second.byte = trunc i64 %second to i8
  br label %frame

frame:
  %at = phi i64 [ %start, %entry ], [ %end, %follows ]
  %n_frames = phi i64 [ 0, %entry ], [ %n_more, %follows ]
  %header.end = add i64 %at, 4
  %has.header = icmp sle i64 %header.end, %size
  br i1 %has.header, label %header, label %done

header:
  %first.at = getelementptr i8, ptr %window, i64 %at
  %second.at = getelementptr i8, ptr %first.at, i64 1
  %third.at = getelementptr i8, ptr %first.at, i64 2
  %fourth.at = getelementptr i8, ptr %first.at, i64 3
  %first = load i8, ptr %first.at
  %second.found = load i8, ptr %second.at
  %second.or.flag = or i8 %second.found, 1
  %is.first = icmp eq i8 %first, -1
  %is.second = icmp eq i8 %second.or.flag, %second.byte
  %is.sync = and i1 %is.first, %is.second
  br i1 %is.sync, label %length, label %done

length:
  %third.byte = load i8, ptr %third.at
  %third = zext i8 %third.byte to i64
  %length.at = getelementptr i64, ptr %lengths, i64 %third
  %n_bytes = load i64, ptr %length.at
  %end = add i64 %at, %n_bytes
  %is.frame = icmp ne i64 %n_bytes, 0
  %is.whole = icmp sle i64 %end, %stop
  %is.whole.frame = and i1 %is.frame, %is.whole
  br i1 %is.whole.frame, label %mark, label %done

mark:
  %fourth.byte = load i8, ptr %fourth.at
  %fourth = zext i8 %fourth.byte to i64
  %place.at = getelementptr i64, ptr %xing_at, i64 %fourth
  %place = load i64, ptr %place.at
  %mark.start = add i64 %at, %place
  %mark.end = add i64 %mark.start, 4
  %has.place = icmp ne i64 %place, 0
  %is.inside = icmp sle i64 %mark.end, %size
  %may.have.mark = and i1 %has.place, %is.inside
  br i1 %may.have.mark, label %compare, label %follows

compare:
  %mark.at = getelementptr i8, ptr %window, i64 %mark.start
  %four = load <4 x i8>, ptr %mark.at, align 1
  %xing.equal = icmp eq <4 x i8> %four, <i8 88, i8 105, i8 110, i8 103>
  %info.equal = icmp eq <4 x i8> %four, <i8 73, i8 110, i8 102, i8 111>
  %is.xing = call i1 @llvm.vector.reduce.and.v4i1(<4 x i1> %xing.equal)
  %is.info = call i1 @llvm.vector.reduce.and.v4i1(<4 x i1> %info.equal)
  %is.mark = or i1 %is.xing, %is.info
  br i1 %is.mark, label %done, label %follows

follows:
  %n_more = add i64 %n_frames, 1
  br label %frame

done:
  store i64 %n_frames, ptr %result
  %at.result = getelementptr i64, ptr %result, i64 1
  store i64 %at, ptr %at.result
  ret void
}

define void @mirror(ptr %data, i64 %size) {
entry:
  %n_wide = udiv i64 %size, 32
  %is.wide = icmp ne i64 %n_wide, 0
  br i1 %is.wide, label %wide, label %rest

wide:
  %number = phi i64 [ 0, %entry ], [ %number.next, %wide ]
  %bytes.at = getelementptr <32 x i8>, ptr %data, i64 %number
  %bytes = load <32 x i8>, ptr %bytes.at, align 1
  %bytes.mirrored = call <32 x i8> @llvm.bitreverse.v32i8(<32 x i8> %bytes)
  store <32 x i8> %bytes.mirrored, ptr %bytes.at, align 1
  %number.next = add i64 %number, 1
  %is.more = icmp ult i64 %number.next, %n_wide
  br i1 %is.more, label %wide, label %rest

rest:
  %rest.start = mul i64 %n_wide, 32
  br label %single

single:
  %place = phi i64 [ %rest.start, %rest ], [ %place.next, %turn ]
  %is.left = icmp ult i64 %place, %size
  br i1 %is.left, label %turn, label %done

turn:
  %byte.at = getelementptr i8, ptr %data, i64 %place
  %byte = load i8, ptr %byte.at
  %byte.mirrored = call i8 @llvm.bitreverse.i8(i8 %byte)
  store i8 %byte.mirrored, ptr %byte.at
  %place.next = add i64 %place, 1
  br label %single

done:
  ret void
}
"""


@cache
def machine_code() -> "ExecutionEngine":
    """These functions in memory, for as long as somebody holds what this returns."""
    # who reads no more than headers needs no compiler
    from specctl.compiler import in_memory

    return in_memory(_CODE)


@cache
def called(name: str, arguments: str) -> "Compiled":
    """One of them that Python calls; ``arguments`` as of ``compiler.compiled``."""
    from specctl.compiler import function

    return function(machine_code(), name, arguments)
