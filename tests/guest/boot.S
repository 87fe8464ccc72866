/* The test guest's way from power-on to C. QEMU's -kernel enters at pvh_start (the PVH boot protocol of
 * Xen's documentation: 32-bit protected mode, no paging, ebx = struct hvm_start_info); here the first 4 GiB
 * are mapped as they lie, and guest_main runs in 64-bit user mode (CPL3) with I/O privileges.
 *
 * Why user mode: under a nested KVM without VMX or SVM only CPL3 runs natively, and CPL0 is emulated
 * instruction by instruction. The only thing done in CPL0 after the start is the timer's interrupt (under
 * TCG), which halts the CPU for as long as guest_main has said that it has nothing to do. */

    .section .note.pvh, "a", @note
    .long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_start

    .set CODE32, 0x08
    .set DATA, 0x10
    .set CODE64, 0x18
    .set USER_DATA, 0x23
    .set USER_CODE64, 0x2b
    .set TSS, 0x30
    .set TICK_VECTOR, 0x20 /* IRQ 0, as guest_main programs the interrupt controller */

    .text
    .code32
    .globl pvh_start
pvh_start:
    cli
    cld
    movl $boot_stack_top, %esp
    movl %ebx, start_info

    /* 4 page directories of 2 MiB pages, present | writable | user */
    movl $page_dirs, %edi
    movl $0xe7, %eax /* dirty and accessed too: the CPU need not write them */
    movl $(4 * 512), %ecx
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    loop 1b
    movl $page_dirs + 0x27, page_dir_pointers
    movl $page_dirs + 0x1027, page_dir_pointers + 8
    movl $page_dirs + 0x2027, page_dir_pointers + 16
    movl $page_dirs + 0x3027, page_dir_pointers + 24
    movl $page_dir_pointers + 0x27, page_map

    movl %cr4, %eax
    orl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
    movl %eax, %cr4
    movl $page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx /* EFER: long mode */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    andl $~6, %eax
    orl $0x80000023, %eax /* paging; FPU there, its errors and state as usual */
    movl %eax, %cr0

    /* the one interrupt gate, and the task state with the stack that it uses */
    movl $on_tick, %eax
    movl %eax, %ecx
    andl $0xffff, %eax
    orl $(CODE64 << 16), %eax
    andl $0xffff0000, %ecx
    orl $0x8e00, %ecx
    movl %eax, idt + TICK_VECTOR * 16
    movl %ecx, idt + TICK_VECTOR * 16 + 4
    movl $tick_stack_top, tss + 4
    movl $tss, %eax
    movw %ax, gdt_tss + 2
    shrl $16, %eax
    movb %al, gdt_tss + 4
    movb %ah, gdt_tss + 7

    lgdt gdt_pointer
    ljmp $CODE64, $in_64_bits

    .code64
in_64_bits:
    movw $DATA, %ax
    movw %ax, %ss
    /* Interrupts only under TCG: a nested KVM without VMX or SVM does not survive the ltr that they need. */
    movl $0x3002, %esi
    movl $0x40000000, %eax
    cpuid
    cmpl $0x54474354, %ebx /* "TCGT" */
    jne 1f
    movb $0xff, %al /* the BIOS left its own timer interrupt on, for which there is no gate */
    outb %al, $0x21
    outb %al, $0xa1
    lidt idt_pointer
    movw $TSS, %ax
    ltr %ax
    movl $0x3202, %esi
    movl $1, can_sleep
1:  movw $USER_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movl start_info, %edi
    pushq $USER_DATA
    pushq $user_stack_top - 8
    pushq %rsi /* I/O privilege level 3; interrupts wait for io_init */
    pushq $USER_CODE64
    pushq $guest_main
    iretq

/* IRQ 0. guest_main waits for it with the number of further ticks in `idle` for which it has nothing to do:
 * the CPU sleeps through them here. */
on_tick:
    pushq %rax
    pushq %rcx
    movb $0x20, %al /* end of interrupt */
    outb %al, $0x20
    xorl %ecx, %ecx
    xchgl %ecx, idle
    testl %ecx, %ecx
    jz 2f
1:  sti
    hlt /* the next tick comes in here, finds 0, and returns to the cli */
    cli
    decl %ecx
    jnz 1b
2:  popq %rcx
    popq %rax
    iretq

    .data
    .align 16
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff /* CODE32 */
    .quad 0x00cf93000000ffff /* DATA */
    .quad 0x00af9b000000ffff /* CODE64 */
    .quad 0x00cff3000000ffff /* USER_DATA */
    .quad 0x00affb000000ffff /* USER_CODE64 */
gdt_tss:
    .quad 0x0000890000000067
    .quad 0
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
idt_pointer:
    .word 256 * 16 - 1
    .quad idt
    .globl idle, can_sleep
    .align 4
idle:
    .long 0
can_sleep:
    .long 0
start_info:
    .long 0

    .bss
    .align 4096
page_map:
    .skip 4096
page_dir_pointers:
    .skip 4096
page_dirs:
    .skip 4 * 4096
idt:
    .skip 256 * 16
    .align 16
tss:
    .skip 112
    .align 16
boot_stack:
    .skip 4096
boot_stack_top:
    .skip 4096
tick_stack_top:
    .skip 16384
user_stack_top:

    .section .note.GNU-stack, "", @progbits
